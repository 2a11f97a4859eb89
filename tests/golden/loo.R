# Leave-one-out by Pareto-smoothed importance sampling, relative efficiencies and WAIC by loo, for tests/elpd/test_psis.py
# and tests/elpd/test_waic.py.
#
#   Rscript tests/golden/loo.R        (from the repository root; writes tests/golden/loo.json)
#
# The log likelihoods are made here and in the tests by one recipe: Park and Miller's generator x' = 16807 x mod (2^31 - 1)
# gives uniform numbers x / (2^31 - 1) in the order draws within chains within columns, their normal quantiles z become
# e_t = rho e_(t-1) + sqrt(1 - rho^2) z_t within a chain, from e_1 = z_1, and the log likelihood of column i is
# -(e - mu_i)^2 scale_i / 2, rounded to so many digits where a case says so. `sum` tells whether both made the same.

suppressMessages({
  library(loo)
  library(jsonlite)
})

uniforms <- function(count, seed) {
  x <- numeric(count)
  state <- seed
  for (i in seq_len(count)) {
    state <- (16807 * state) %% 2147483647
    x[i] <- state / 2147483647
  }
  x
}

made <- function(case) {
  z <- array(qnorm(uniforms(case$draws * case$chains * length(case$mu), case$seed)),
             c(case$draws, case$chains, length(case$mu)))
  e <- z
  for (t in seq_len(case$draws)[-1]) {
    e[t, , ] <- case$rho * e[t - 1, , ] + sqrt(1 - case$rho^2) * z[t, , ]
  }
  for (i in seq_along(case$mu)) {
    e[, , i] <- -(e[, , i] - case$mu[i])^2 * case$scale[i] / 2
  }
  if (is.null(case$digits)) e else round(e, case$digits)
}

by_loo <- function(values, r_eff) {
  found <- suppressWarnings(loo(values, r_eff = r_eff))
  weights <- suppressWarnings(psis(-values, r_eff = r_eff))
  list(
    elpd = unname(found$pointwise[, "elpd_loo"]), p = unname(found$pointwise[, "p_loo"]),
    k = ifelse(is.finite(found$diagnostics$pareto_k), unname(found$diagnostics$pareto_k), NA),
    total = unname(found$estimates["elpd_loo", ]),
    weights = unname(t(apply(weights(weights, log = FALSE), 2, sort, decreasing = TRUE)[1:8, ]))
  )
}

cases <- list(
  independent = list(chains = 4, draws = 250, rho = 0, seed = 1, mu = c(0, 0.5, 1, 2, 3, 1), scale = c(1, 0.5, 0.1, 0.01, 0.2, 2)),
  dependent = list(chains = 2, draws = 100, rho = 0.8, seed = 2, mu = c(0, 1, 2, 0), scale = c(0.5, 0.3, 0.1, 0.9)),
  antithetic = list(chains = 4, draws = 100, rho = -0.4, seed = 3, mu = c(1, 2, 0.2), scale = c(0.3, 0.2, 0.05)),
  heavy = list(chains = 4, draws = 1000, rho = 0.3, seed = 4, mu = c(3, 4, 0), scale = c(1, 2, 6)),
  tied = list(chains = 2, draws = 200, rho = 0.2, seed = 5, mu = c(0, 1, 2), scale = c(1, 0.5, 0.3), digits = 1),
  tail_of_six = list(chains = 1, draws = 30, rho = 0, seed = 6, mu = c(0, 1), scale = c(0.5, 0.2)),
  too_few = list(chains = 1, draws = 20, rho = 0, seed = 7, mu = c(0, 1), scale = c(0.5, 0.2))
)

results <- lapply(cases, function(case) {
  values <- made(case)
  r_eff <- relative_eff(exp(values))
  waic <- suppressWarnings(waic(values))
  c(case, list(
    sum = sum(values), r_eff = unname(r_eff), relative = by_loo(values, r_eff), one = by_loo(values, rep(1, dim(values)[3])),
    waic = list(elpd = unname(waic$pointwise[, "elpd_waic"]), p = unname(waic$pointwise[, "p_waic"]),
                total = unname(waic$estimates["elpd_waic", ]))
  ))
})

versions <- list(R = R.version.string, loo = as.character(packageVersion("loo")))
write_json(list(versions = versions, cases = results), "tests/golden/loo.json", digits = NA, auto_unbox = TRUE, pretty = TRUE,
           na = "null")
