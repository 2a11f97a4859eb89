# Log marginal likelihoods by bridgesampling, for tests/comparison/test_evidence.py.
#
#   Rscript tests/golden/bridge.R        (from the repository root; writes tests/golden/bridge.json; some minutes)
#
# Each case holds the model, the log marginal likelihood that bridgesampling finds by warp-III on draws of a random walk,
# the mean of several repetitions with their standard deviation, and for two parameters the same by R's integrate(), once
# within the other. The density is written out here, from R's own, of the parameters themselves: bridgesampling takes them
# to the real line. Random effects and coefficients are integrated out: y is normal with one covariance.

suppressMessages({
  library(bridgesampling)
  library(jsonlite)
})
set.seed(1)

half_t <- function(x, df, scale) log(2 / scale) + dt(x / scale, df, log = TRUE)
half_normal <- function(x, scale) log(2) + dnorm(x, 0, scale, log = TRUE)
exponential <- function(x, scale) dexp(x, 1 / scale, log = TRUE)
inverse_gamma <- function(x, shape, scale) {
  log(2) + shape * log(scale) - lgamma(shape) - (2 * shape + 1) * log(x) - scale / x^2
}
density_of <- list(
  half_student_t = function(x, p) half_t(x, p$df, p$scale),
  half_normal = function(x, p) half_normal(x, p$scale),
  exponential = function(x, p) exponential(x, p$scale),
  inverse_gamma = function(x, p) inverse_gamma(x, p$shape, p$scale),
  uniform = function(x, p) dunif(x, p$lower, p$upper, log = TRUE)
)

cases <- list(
  list(
    data = "dyestuff", response = "yield", group = "batch", effects = "1",
    beta = list(Intercept = list(loc = 1500, scale = 100)),
    sd = list(Intercept = list(kind = "half_student_t", df = 3, scale = 50)),
    sigma = list(kind = "half_student_t", df = 3, scale = 50)
  ),
  list(
    data = "dyestuff2", response = "yield", group = "batch", effects = "1",
    beta = list(Intercept = list(loc = 5, scale = 10)),
    sd = list(Intercept = list(kind = "half_normal", scale = 3)),
    sigma = list(kind = "exponential", scale = 4)
  ),
  list(
    data = "sleepstudy", response = "reaction", group = "subject", effects = "days",
    beta = list(Intercept = list(loc = 300, scale = 100), days = list(loc = 0, scale = 20)),
    sd = list(
      Intercept = list(kind = "half_student_t", df = 3, scale = 40),
      days = list(kind = "inverse_gamma", shape = 2, scale = 30)
    ),
    sigma = list(kind = "half_student_t", df = 3, scale = 40)
  )
)

log_posterior_of <- function(case) {
  data <- read.csv(file.path("hlm_models/parts/datasets", paste0(case$data, ".csv")))
  y <- data[[case$response]]
  group <- as.character(data[[case$group]])
  X <- cbind(rep(1, length(y)), data$days)
  loc <- vapply(case$beta, function(p) p$loc, 0)
  scale <- vapply(case$beta, function(p) p$scale, 0)
  r <- y - X %*% loc
  fixed <- X %*% diag(scale^2, length(scale)) %*% t(X)
  same <- outer(group, group, "==")
  shapes <- lapply(seq_along(case$sd), function(k) tcrossprod(X[, k]) * same)
  function(pars, data = NULL) {
    q <- length(shapes)
    V <- fixed + diag(pars[q + 1]^2, length(y))
    for (k in seq_len(q)) V <- V + pars[k]^2 * shapes[[k]]
    U <- tryCatch(chol(V), error = function(e) NULL)
    if (is.null(U)) return(-Inf)
    value <- -sum(log(diag(U))) - sum(backsolve(U, r, transpose = TRUE)^2) / 2 - length(y) / 2 * log(2 * pi)
    for (k in seq_len(q)) value <- value + density_of[[case$sd[[k]]$kind]](pars[k], case$sd[[k]])
    value + density_of[[case$sigma$kind]](pars[q + 1], case$sigma)
  }
}

# A random walk of the logarithms, whose steps have the shape of what it has seen.
walk <- function(log_posterior, start, kept, thin) {
  d <- length(start)
  at <- log(start)
  value <- log_posterior(exp(at)) + sum(at)
  root <- diag(0.3, d)
  found <- matrix(0, kept, d)
  warm <- matrix(0, 2000, d)
  step <- function() {
    new <- at + drop(rnorm(d) %*% root)
    there <- log_posterior(exp(new)) + sum(new)
    if (is.finite(there) && log(runif(1)) < there - value) {
      at <<- new
      value <<- there
    }
  }
  for (i in seq_len(2000)) { step(); warm[i, ] <- at }
  root <- chol(cov(warm[-(1:500), , drop = FALSE])) * 2.4 / sqrt(d)
  for (i in seq_len(kept)) {
    for (j in seq_len(thin)) step()
    found[i, ] <- exp(at)
  }
  found
}

by_quadrature <- function(log_posterior, scales) {
  outer_one <- function(s) vapply(s, function(sigma) {
    inner <- function(t) vapply(t, function(sd) exp(log_posterior(c(sd, sigma)) - top), 0)
    sum(vapply(list(c(0, scales[1]), c(scales[1], 10 * scales[1]), c(10 * scales[1], Inf)), function(range)
      integrate(inner, range[1], range[2], rel.tol = 1e-9, abs.tol = 0, subdivisions = 1000, stop.on.error = FALSE)$value, 0))
  }, 0)
  fit <- optim(log(scales), function(x) -log_posterior(exp(x)))
  top <- -fit$value
  s <- exp(fit$par[2])
  edges <- s * c(0.2, 0.6, 1, 1.5, 2.5, 6)
  total <- 0
  for (i in seq_len(length(edges) - 1)) {
    total <- total + integrate(outer_one, edges[i], edges[i + 1], rel.tol = 1e-8, abs.tol = 0)$value
  }
  log(total) + top
}

found <- lapply(cases, function(case) {
  log_posterior <- log_posterior_of(case)
  q <- length(case$sd)
  names <- c(paste0("sd", seq_len(q)), "sigma")
  start <- vapply(c(case$sd, list(case$sigma)), function(p) if (is.null(p$shape)) p$scale else sqrt(p$scale / p$shape), 0)
  small <- case$data == "sleepstudy"
  draws <- walk(log_posterior, start, if (small) 3000 else 10000, 5)
  colnames(draws) <- names
  # Half of the draws fits the proposal: the values of repetitions differ by their proposals only, so walks differ too.
  values <- vapply(seq_len(4), function(i) {
    if (i > 1) draws <<- walk(log_posterior, start, nrow(draws), 5)
    colnames(draws) <- names
    bridge_sampler(
      draws, log_posterior = log_posterior, data = NULL, lb = setNames(rep(0, q + 1), names),
      ub = setNames(rep(Inf, q + 1), names), method = "warp3", silent = TRUE
    )$logml
  }, 0)
  case$logml <- mean(values)
  case$se <- sd(values) / sqrt(length(values))
  if (q == 1) case$by_quadrature <- by_quadrature(log_posterior, start)
  case
})

versions <- list(
  R = as.character(getRversion()), bridgesampling = as.character(packageVersion("bridgesampling"))
)
writeLines(
  toJSON(list(versions = versions, cases = found), auto_unbox = TRUE, digits = 12, pretty = 1),
  "tests/golden/bridge.json"
)
