# Posteriors of models of the zoo by Stan under the default priors, for the references in configs/*.yaml.
#
#   Rscript tests/golden/zoo_posterior.R [MODEL...]   (from the repository root; writes tests/golden/zoo_posterior.json)
#
# One Stan program stands for all: rows given coefficients and random effects, which are sampled, non-centred. A term is
# one effect, or a correlated intercept and slope. The default priors are worked out here from the data. Models that are
# named are sampled anew and put in the place of what the file holds of them. Needs a C++ compiler.

suppressMessages({
  library(rstan)
  library(posterior)
  library(jsonlite)
})

program <- "
data {
  int<lower=1> n;
  int<lower=1> p;                // the first column of X is the intercept
  matrix[n, p] X;
  vector[n] y;
  vector[p] loc;
  vector<lower=0>[p] scale;
  int<lower=1> K;                // terms
  int<lower=1> Q;                // effects of all terms
  int<lower=0> C;                // correlations
  int<lower=1> N;                // effects of all levels
  int<lower=1, upper=2> q[K];
  int<lower=1> J[K];
  int<lower=1> level[n, K];
  matrix[n, Q] z;
  vector<lower=0>[Q] sd_scale;
  real<lower=0> sigma_scale;
}
transformed data {
  matrix[n, p] Xc = X;
  vector[p] xbar = rep_vector(0, p);
  for (k in 2:p) {
    xbar[k] = mean(X[, k]);
    Xc[, k] = X[, k] - xbar[k];
  }
}
parameters {
  vector[p] gamma;               // the intercept at the means of the predictors, and the slopes
  vector<lower=0>[Q] sd_b;
  vector<lower=-1, upper=1>[C] corr;
  real<lower=0> sigma;
  vector[N] u;
}
transformed parameters {
  vector[p] beta = gamma;
  beta[1] -= dot_product(xbar, gamma);
}
model {
  vector[n] eta = Xc * gamma;
  int at = 1;
  int e = 1;
  int c = 1;
  for (k in 1:K) {
    vector[J[k]] u1 = segment(u, at, J[k]);
    eta += z[, e] .* (sd_b[e] * u1)[level[, k]];
    at += J[k];
    if (q[k] == 2) {
      vector[J[k]] u2 = corr[c] * u1 + sqrt(1 - square(corr[c])) * segment(u, at, J[k]);
      eta += z[, e + 1] .* (sd_b[e + 1] * u2)[level[, k]];
      at += J[k];
      c += 1;
    }
    e += q[k];
  }
  beta ~ normal(loc, scale);     // beta[1] and gamma[1] differ by a shift
  sd_b ~ student_t(3, 0, sd_scale);
  target += log1m(square(corr)); // lkj(2) of a 2 x 2 correlation
  sigma ~ student_t(3, 0, sigma_scale);
  u ~ std_normal();
  y ~ normal(eta, sigma);
}
"

bundled <- function(name) read.csv(file.path("hlm_models/parts/datasets", paste0(name, ".csv")))

term <- function(group, effects = "Intercept") list(group = group, effects = effects)

models <- list(
  dyestuff = list(data = "dyestuff", y = "yield", x = NULL, terms = list(term("batch"))),
  dyestuff2 = list(data = "dyestuff2", y = "yield", x = NULL, terms = list(term("batch"))),
  `grunfeld-intercept` = list(data = "grunfeld", y = "investment", x = c("market_value", "capital"), terms = list(term("firm"))),
  oats = list(data = "oats", y = "yield", x = "nitro", terms = list(term("block:variety"), term("block"))),
  `orthodont-growth` = list(data = "orthodont", y = "distance", x = "age", terms = list(term("subject", c("Intercept", "age")))),
  oxide = list(data = "oxide", y = "thickness", x = NULL, terms = list(term("lot:wafer"), term("lot"))),
  pastes = list(data = "pastes", y = "strength", x = NULL, terms = list(term("batch:cask"), term("batch"))),
  penicillin = list(data = "penicillin", y = "diameter", x = NULL, terms = list(term("plate"), term("sample"))),
  `radon-intercept` = list(data = "radon", y = "log_radon", x = "floor", terms = list(term("county"))),
  `radon-slopes` = list(data = "radon", y = "log_radon", x = "floor", terms = list(term("county", c("Intercept", "floor")))),
  `radon-uranium` = list(
    data = "radon", y = "log_radon", x = c("floor", "log_uranium"), terms = list(term("county", c("Intercept", "floor")))
  ),
  rail = list(data = "rail", y = "travel", x = NULL, terms = list(term("rail"))),
  `sleepstudy-intercept` = list(data = "sleepstudy", y = "reaction", x = "days", terms = list(term("subject"))),
  `sleepstudy-uncorrelated` = list(
    data = "sleepstudy", y = "reaction", x = "days", terms = list(term("subject"), term("subject", "days"))
  )
)

stan_data <- function(model) {
  rows <- bundled(model$data)
  y <- rows[[model$y]]
  s_y <- sd(y)
  columns <- as.matrix(rows[model$x])
  s_x <- apply(columns, 2, sd)
  slopes <- 2.5 * s_y / s_x
  intercept <- sqrt((2.5 * s_y)^2 + sum((colMeans(columns) * slopes)^2))
  sizes <- sapply(model$terms, function(one) length(one$effects))
  levels <- sapply(model$terms, function(one) {
    as.integer(factor(do.call(paste, c(unname(rows[strsplit(one$group, ":")[[1]]]), sep = ":"))))
  })
  effects <- unlist(lapply(model$terms, `[[`, "effects"))
  J <- apply(levels, 2, max)
  list(
    n = nrow(rows), p = 1 + length(model$x), X = cbind(1, columns), y = y,
    loc = as.array(c(mean(y), rep(0, length(model$x)))), scale = as.array(unname(c(intercept, slopes))),
    K = length(sizes), Q = length(effects), C = sum(sizes == 2), N = sum(J * sizes),
    q = as.array(sizes), J = as.array(J), level = levels,
    z = sapply(effects, function(name) if (name == "Intercept") rep(1, nrow(rows)) else rows[[name]]),
    sd_scale = as.array(unname(sapply(effects, function(name) if (name == "Intercept") s_y else s_y / s_x[[name]]))),
    sigma_scale = s_y
  )
}

named <- function(model) {
  of_term <- function(one) sprintf("sd_%s[%s]", one$group, one$effects)
  of_pair <- function(one) if (length(one$effects) == 2) sprintf("corr_%s[%s]", one$group, paste(one$effects, collapse = ", "))
  c(sprintf("beta[%s]", c("Intercept", model$x)), unlist(lapply(model$terms, of_term)), unlist(lapply(model$terms, of_pair)), "sigma")
}

chains <- 4L
warmup <- 1000L
seed <- 20261122L

sampled <- function(name, compiled) {
  model <- models[[name]]
  started <- proc.time()[["elapsed"]]
  fit <- sampling(
    compiled, data = stan_data(model), chains = chains, cores = 1, iter = warmup + 4000L, warmup = warmup, seed = seed,
    pars = c("beta", "sd_b", "corr", "sigma"), control = list(adapt_delta = 0.98, max_treedepth = 12), refresh = 0
  )
  info <- do.call(rbind, get_sampler_params(fit, inc_warmup = FALSE))
  draws <- as_draws_array(as.array(fit))
  columns <- setdiff(variables(draws), "lp__")
  values <- lapply(columns, function(column) {
    v <- extract_variable_matrix(draws, column)
    list(mean = mean(v), mcse = mcse_mean(v), sd = sd(as.vector(v)), mcse_sd = mcse_sd(v), ess_bulk = round(ess_bulk(v)), r_hat = rhat(v))
  })
  names(values) <- named(model)
  divergences <- sum(info[, "divergent__"])
  worst <- function(key) sapply(values, `[[`, key)
  message(sprintf(
    "%s: divergences %d, ess >= %.0f, r_hat <= %.4f, %.0f s", name, divergences, min(worst("ess_bulk")), max(worst("r_hat")),
    proc.time()[["elapsed"]] - started
  ))
  if (max(worst("r_hat")) > 1.005 || min(worst("ess_bulk")) < 2000 || divergences > 4 || min(get_bfmi(fit)) < 0.3) {
    message("  not good enough: left out")
    return(NULL)
  }
  list(values = values, divergences = divergences, draws = chains * 4000L)
}

# Debian's package BH is empty: there Boost is a system library.
if (!file.exists(rstan_options("boost_lib"))) rstan_options(boost_lib = "/usr/include")
compiled <- stan_model(model_code = program)

path <- "tests/golden/zoo_posterior.json"
asked <- commandArgs(trailingOnly = TRUE)
found <- if (length(asked) && file.exists(path)) read_json(path)$models else list()
for (name in if (length(asked)) asked else names(models)) {
  found[[name]] <- sampled(name, compiled)
  out <- list(
    made_by = "tests/golden/zoo_posterior.R",
    versions = list(
      R = paste(R.version$major, R.version$minor, sep = "."), rstan = as.character(packageVersion("rstan")),
      Stan = stan_version(), posterior = as.character(packageVersion("posterior"))
    ),
    chains = chains, warmup = warmup, seed = seed,
    models = found[order(names(found))]
  )
  write_json(out, path, auto_unbox = TRUE, digits = NA, pretty = TRUE)
}
