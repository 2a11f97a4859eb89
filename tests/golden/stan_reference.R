# Reference posteriors from Stan: Gaussian mixed models with a correlated random intercept and slope.
#
#   Rscript stan_reference.R stan_reference.json
#
# Needs R with rstan, posterior, jsonlite, lme4 (sleepstudy) and nlme (MathAchieve), and a C++ compiler; on Debian 12:
# r-cran-rstan, r-cran-lme4, r-cran-jsonlite. One chain runs at a time. The draws are not kept.
#
# Two Stan programs stand for the same posterior:
#   plain     y given the coefficients and the random effects b, row by row; b is sampled, the
#             intercepts centred, the slopes non-centred given the intercepts
#   marginal  b integrated out in closed form, from Z'Z, Z'y, y'y of each group (X = Z in both models)
# The numbers of sleepstudy-slopes come from `plain`, those of hsb-random-coefficients from `marginal`. Before anything
# is written, the script checks at random points that `marginal` is the dense multivariate normal of each group plus
# the priors in R's own densities, and that `plain` less the conditional density of b is `marginal`; and it samples
# each model with the other program too and compares every reported number.

suppressMessages({
  library(rstan)
  library(posterior)
  library(jsonlite)
})

arguments <- commandArgs(trailingOnly = TRUE)
if (length(arguments) != 1) stop("usage: Rscript stan_reference.R OUTPUT.json")
out_path <- arguments[1]

seed <- 20261121L
chains <- 4L
warmup <- 1000L

parameters_and_priors <- c(
  parameters = "
  real intercept;
  real slope;
  vector<lower=0>[2] sd_b;
  cholesky_factor_corr[2] L;
  real<lower=0> sigma;",
  data = "
  real intercept_loc;
  real<lower=0> intercept_scale;
  real<lower=0> slope_scale;
  vector<lower=0>[2] sd_scale;
  real<lower=0> sigma_scale;",
  model = "
  target += normal_lpdf(intercept | intercept_loc, intercept_scale);
  target += normal_lpdf(slope | 0, slope_scale);
  target += student_t_lpdf(sd_b | 3, 0, sd_scale);
  target += student_t_lpdf(sigma | 3, 0, sigma_scale);
  target += lkj_corr_cholesky_lpdf(L | 2);"
)

plain_code <- paste0("
data {
  int<lower=1> n;
  int<lower=1> J;
  int<lower=1, upper=J> group[n];
  vector[n] x;
  vector[n] y;", parameters_and_priors["data"], "
}
parameters {", parameters_and_priors["parameters"], "
  vector[J] c1;  // intercept of each group, intercept + b[, 1]
  vector[J] z2;  // what its slope adds, standardised: b[, 2] given b[, 1]
}
model {
  vector[J] c2 = slope + sd_b[2] * (L[2, 1] * (c1 - intercept) / sd_b[1] + L[2, 2] * z2);", parameters_and_priors["model"], "
  target += normal_lpdf(c1 | intercept, sd_b[1]);
  target += std_normal_lpdf(z2);
  target += normal_lpdf(y | c1[group] + c2[group] .* x, sigma);
}
generated quantities {
  real corr = L[2, 1];
}
")

# With Psi = sigma^2 Lambda Lambda', r = y - X beta and A_j = I + Lambda' Z_j'Z_j Lambda, of one group
#   log p(y_j) = -n_j/2 log(2 pi sigma^2) - log|A_j|/2 - (r'r - v' A_j^-1 v) / (2 sigma^2),   v = Lambda' Z_j' r,
# written out for 2 x 2 and for all groups at once.
marginal_code <- paste0("
data {
  int<lower=1> n;
  int<lower=1> J;
  vector[J] g11;  // Z'Z
  vector[J] g12;
  vector[J] g22;
  vector[J] zy1;  // Z'y
  vector[J] zy2;
  real yy;        // y'y over all rows", parameters_and_priors["data"], "
}
transformed data {
  real G11 = sum(g11);
  real G12 = sum(g12);
  real G22 = sum(g22);
  real ZY1 = sum(zy1);
  real ZY2 = sum(zy2);
}
parameters {", parameters_and_priors["parameters"], "
}
model {
  matrix[2, 2] Lambda = diag_pre_multiply(sd_b, L) / sigma;
  real l11 = Lambda[1, 1];
  real l21 = Lambda[2, 1];
  real l22 = Lambda[2, 2];
  vector[J] h1 = zy1 - g11 * intercept - g12 * slope;
  vector[J] h2 = zy2 - g12 * intercept - g22 * slope;
  vector[J] v1 = l11 * h1 + l21 * h2;
  vector[J] v2 = l22 * h2;
  vector[J] a11 = 1 + square(l11) * g11 + 2 * l11 * l21 * g12 + square(l21) * g22;
  vector[J] a12 = l22 * (l11 * g12 + l21 * g22);
  vector[J] a22 = 1 + square(l22) * g22;
  vector[J] det = a11 .* a22 - square(a12);
  real rr = yy - 2 * (intercept * ZY1 + slope * ZY2)
            + square(intercept) * G11 + 2 * intercept * slope * G12 + square(slope) * G22;
  real vAv = sum((a22 .* square(v1) - 2 * a12 .* v1 .* v2 + a11 .* square(v2)) ./ det);", parameters_and_priors["model"], "
  target += -0.5 * n * log(2 * pi() * square(sigma)) - 0.5 * sum(log(det)) - 0.5 * (rr - vAv) / square(sigma);
}
generated quantities {
  real corr = L[2, 1];
}
")

# ---- data and priors ----

priors_from <- function(x, y) {
  s_y <- sd(y)
  s_x <- sd(x)
  slope_scale <- 2.5 * s_y / s_x
  list(
    computed_from = list(s_y = s_y, ybar = mean(y), s_x = s_x, xbar = mean(x)),
    intercept = list(kind = "normal", loc = mean(y), scale = sqrt((2.5 * s_y)^2 + (mean(x) * slope_scale)^2)),
    slope = list(kind = "normal", loc = 0, scale = slope_scale),
    sd_intercept = list(kind = "half_student_t", df = 3, scale = s_y),
    sd_slope = list(kind = "half_student_t", df = 3, scale = s_y / s_x),
    corr = list(kind = "lkj", eta = 2),
    sigma = list(kind = "half_student_t", df = 3, scale = s_y)
  )
}

stan_data <- function(x, y, group, priors) {
  J <- max(group)
  total <- function(v) as.vector(tapply(v, factor(group, levels = seq_len(J)), sum))
  list(
    n = length(y), J = J, group = group, x = x, y = y,
    g11 = total(rep(1, length(y))), g12 = total(x), g22 = total(x^2),
    zy1 = total(y), zy2 = total(x * y), yy = sum(y^2),
    intercept_loc = priors$intercept$loc, intercept_scale = priors$intercept$scale,
    slope_scale = priors$slope$scale,
    sd_scale = c(priors$sd_intercept$scale, priors$sd_slope$scale),
    sigma_scale = priors$sigma$scale
  )
}

# ---- the densities, a second time, in plain R ----

log_prior <- function(p, d) {
  half_t <- function(v, scale) dt(v / scale, 3, log = TRUE) - log(scale)  # without log 2, as in the Stan programs
  dnorm(p$intercept, d$intercept_loc, d$intercept_scale, log = TRUE) +
    dnorm(p$slope, 0, d$slope_scale, log = TRUE) +
    sum(half_t(p$sd_b, d$sd_scale)) + half_t(p$sigma, d$sigma_scale)
}

# LKJ(2) of a 2 x 2 matrix is (1 - r^2) 3/4 in r. Stan's L has r as its free entry: no Jacobian of r.
log_lkj <- function(p) log(0.75) + log1p(-p$corr^2)

log_mvn <- function(v, mean, cov) {
  R <- chol(cov)
  -0.5 * length(v) * log(2 * pi) - sum(log(diag(R))) - 0.5 * sum(backsolve(R, v - mean, transpose = TRUE)^2)
}

psi_of <- function(p) {
  diag(p$sd_b) %*% matrix(c(1, p$corr, p$corr, 1), 2) %*% diag(p$sd_b)
}

dense_log_density <- function(p, d) {
  value <- log_prior(p, d) + log_lkj(p)
  for (j in seq_len(d$J)) {
    rows <- d$group == j
    Z <- cbind(1, d$x[rows])
    cov <- Z %*% psi_of(p) %*% t(Z) + diag(p$sigma^2, sum(rows))
    value <- value + log_mvn(d$y[rows], drop(Z %*% c(p$intercept, p$slope)), cov)
  }
  value
}

log_b_given_rest <- function(b, p, d) {
  value <- 0
  for (j in seq_len(d$J)) {
    rows <- d$group == j
    Z <- cbind(1, d$x[rows])
    cov <- solve(crossprod(Z) / p$sigma^2 + solve(psi_of(p)))
    mean <- drop(cov %*% crossprod(Z, d$y[rows] - Z %*% c(p$intercept, p$slope))) / p$sigma^2
    value <- value + log_mvn(b[j, ], mean, cov)
  }
  value
}

stan_log_density <- function(fit, p, b = NULL) {
  pars <- list(
    intercept = p$intercept, slope = p$slope, sd_b = p$sd_b,
    L = matrix(c(1, p$corr, 0, sqrt(1 - p$corr^2)), 2), sigma = p$sigma
  )
  log_jacobian <- 0
  if (!is.null(b)) {  # as a density of b, not of (c1, z2)
    pars$c1 <- p$intercept + b[, 1]
    pars$z2 <- (b[, 2] / p$sd_b[2] - p$corr * b[, 1] / p$sd_b[1]) / sqrt(1 - p$corr^2)
    log_jacobian <- -nrow(b) * log(p$sd_b[2] * sqrt(1 - p$corr^2))
  }
  log_prob(fit, unconstrain_pars(fit, pars), adjust_transform = FALSE) + log_jacobian
}

check_densities <- function(plain_fit, marginal_fit, d) {
  set.seed(seed)
  worst <- c(marginal_against_dense = 0, plain_against_marginal = 0)
  for (i in 1:10) {
    p <- list(
      intercept = rnorm(1, mean(d$y), sd(d$y)), slope = rnorm(1, 0, sd(d$y) / sd(d$x)),
      sd_b = sd(d$y) * exp(rnorm(2)) / c(1, sd(d$x)), corr = runif(1, -0.95, 0.95), sigma = sd(d$y) * exp(rnorm(1, 0, 0.5))
    )
    b <- cbind(rnorm(d$J, 0, p$sd_b[1]), rnorm(d$J, 0, p$sd_b[2]))
    marginal <- stan_log_density(marginal_fit, p)
    dense <- dense_log_density(p, d)
    plain <- stan_log_density(plain_fit, p, b) - log_b_given_rest(b, p, d)
    worst <- pmax(worst, abs(c(marginal - dense, plain - marginal) / marginal))
  }
  if (any(worst > 1e-9)) stop("the densities differ: ", paste(names(worst), format(worst), collapse = ", "))
  as.list(worst)
}

# ---- sampling and summaries ----

# Means, spreads and quantiles with their Monte Carlo standard errors (Vehtari et al. 2021, doi:10.1214/20-BA1221):
# of the mean by the ESS of the draws, of the sd by the ESS of the squared deviations (delta method), of a quantile
# by the ESS of the indicator and beta quantiles.
summarise <- function(fit, slope_name) {
  columns <- c("intercept", "slope", "sd_b[1]", "sd_b[2]", "corr", "sigma")
  labels <- c(
    "beta[Intercept]", sprintf("beta[%s]", slope_name), "sd[Intercept]", sprintf("sd[%s]", slope_name), "corr", "sigma"
  )
  draws <- as_draws_array(as.array(fit))
  rows <- lapply(columns, function(column) {
    v <- extract_variable_matrix(draws, column)
    q <- unname(quantile(as.vector(v), c(0.05, 0.95), type = 7))
    mcse_q <- unname(mcse_quantile(v, c(0.05, 0.95)))
    list(
      mean = mean(v), sd = sd(as.vector(v)), q05 = q[1], q95 = q[2],
      mcse_mean = mcse_mean(v), mcse_sd = mcse_sd(v), mcse_q05 = mcse_q[1], mcse_q95 = mcse_q[2],
      ess_bulk = round(ess_bulk(v)), ess_tail = round(ess_tail(v)), r_hat = rhat(v)
    )
  })
  names(rows) <- labels
  rows
}

sample_one <- function(model, d, draws, adapt_delta) {
  started <- proc.time()[["elapsed"]]
  fit <- sampling(
    model, data = d, chains = chains, cores = 1, iter = warmup + draws, warmup = warmup, seed = seed,
    pars = c("c1", "z2"), include = FALSE, control = list(adapt_delta = adapt_delta), refresh = 0
  )
  info <- do.call(rbind, get_sampler_params(fit, inc_warmup = FALSE))
  list(
    fit = fit,
    divergences = sum(info[, "divergent__"]),
    max_treedepth_hits = sum(info[, "treedepth__"] >= 10),
    min_bfmi = min(get_bfmi(fit)),
    seconds = proc.time()[["elapsed"]] - started
  )
}

# Largest |difference| of any reported number between two independent runs, in standard errors of the difference.
compare_runs <- function(a, b) {
  z <- unlist(lapply(names(a), function(name) {
    of_name <- sapply(c("mean", "sd", "q05", "q95"), function(k) {
      se <- paste0("mcse_", k)
      (a[[name]][[k]] - b[[name]][[k]]) / sqrt(a[[name]][[se]]^2 + b[[name]][[se]]^2)
    })
    setNames(of_name, paste(name, names(of_name)))
  }))
  list(max_abs_z = max(abs(z)), largest_at = names(z)[which.max(abs(z))], rms_z = sqrt(mean(z^2)), numbers = length(z))
}

accept <- function(name, run, parameters, min_ess) {
  worst <- function(k) sapply(parameters, `[[`, k)
  message(sprintf(
    "%s: divergences %d, treedepth hits %d, bfmi %.2f, ess >= %.0f, r_hat <= %.5f, %.0f s", name, run$divergences,
    run$max_treedepth_hits, run$min_bfmi, min(worst("ess_bulk"), worst("ess_tail")), max(worst("r_hat")), run$seconds
  ))
  stopifnot(
    run$divergences == 0, run$max_treedepth_hits == 0, run$min_bfmi > 0.3, max(worst("r_hat")) < 1.005,
    min(worst("ess_bulk"), worst("ess_tail")) >= min_ess
  )
}

# Debian's package BH is empty: there Boost is a system library.
if (!file.exists(rstan_options("boost_lib"))) rstan_options(boost_lib = "/usr/include")

programs <- list(plain = stan_model(model_code = plain_code), marginal = stan_model(model_code = marginal_code))
says <- list(
  plain = "random effects sampled (intercepts centred, slopes non-centred given them), normal likelihood row by row",
  marginal = "random effects integrated out in closed form from Z'Z, Z'y, y'y of each group"
)

reference <- function(name, about, x, y, group, slope_name, formula, program, draws, adapt_delta) {
  priors <- priors_from(x, y)
  d <- stan_data(x, y, group, priors)
  other <- setdiff(names(programs), program)
  runs <- lapply(names(programs), function(k) sample_one(programs[[k]], d, draws[[k]], adapt_delta[[k]]))
  names(runs) <- names(programs)
  density_check <- check_densities(runs$plain$fit, runs$marginal$fit, d)
  summaries <- lapply(runs, function(run) summarise(run$fit, slope_name))
  accept(paste(name, program), runs[[program]], summaries[[program]], min_ess = 10000)
  accept(paste(name, other), runs[[other]], summaries[[other]], min_ess = 1000)
  agreement <- compare_runs(summaries[[program]], summaries[[other]])
  message(sprintf("%s: plain and marginal differ by at most %.2f standard errors", name, agreement$max_abs_z))
  stopifnot(agreement$max_abs_z < 4)

  named <- c("Intercept", slope_name)
  run <- runs[[program]]
  list(
    data = c(about, list(n = length(y), groups = max(group), sum_y = sum(y), sum_y2 = sum(y^2), sum_xy = sum(x * y))),
    formula = formula,
    priors = list(
      computed_from = priors$computed_from,
      beta = setNames(list(priors$intercept, priors$slope), named),
      sd = setNames(list(priors$sd_intercept, priors$sd_slope), named),
      corr = priors$corr,
      sigma = priors$sigma,
      note = "beta[Intercept] stands at x = 0 on the raw scale; scale is the scale of the half Student t, not its sd"
    ),
    program = says[[program]],
    parameters = summaries[[program]],
    divergences = run$divergences,
    max_treedepth_hits = run$max_treedepth_hits,
    min_bfmi = run$min_bfmi,
    chains = chains, warmup = warmup, draws_per_chain = draws[[program]], draws = chains * draws[[program]],
    adapt_delta = adapt_delta[[program]], seed = seed,
    checks = list(
      density = c(density_check, list(
        unit = "largest relative difference of the log density at 10 random points",
        dense = "multivariate normal of each group and the priors, in R",
        plain = "Stan's plain log density less the conditional normal log density of b"
      )),
      other_program = c(
        list(program = says[[other]], draws = chains * draws[[other]], divergences = runs[[other]]$divergences), agreement
      )
    )
  )
}

sleepstudy <- lme4::sleepstudy
hsb <- as.data.frame(nlme::MathAchieve)
school <- as.integer(factor(as.character(hsb$School)))
cses <- hsb$SES - ave(hsb$SES, school)

models <- list(
  `sleepstudy-slopes` = reference(
    "sleepstudy-slopes",
    about = list(source = paste("lme4::sleepstudy, lme4", packageVersion("lme4")), y = "Reaction", x = "Days", group = "Subject"),
    x = sleepstudy$Days, y = sleepstudy$Reaction, group = as.integer(sleepstudy$Subject),
    slope_name = "days", formula = "Reaction ~ Days + (Days | Subject)",
    program = "plain", draws = list(plain = 20000L, marginal = 40000L), adapt_delta = list(plain = 0.99, marginal = 0.95)
  ),
  `hsb-random-coefficients` = reference(
    "hsb-random-coefficients",
    about = list(
      source = paste("nlme::MathAchieve, nlme", packageVersion("nlme")), y = "MathAch",
      x = "cses = SES - mean of SES over the pupils of the school in the data", group = "School"
    ),
    x = cses, y = hsb$MathAch, group = school,
    slope_name = "cses", formula = "MathAch ~ cses + (cses | School)",
    program = "marginal", draws = list(plain = 5000L, marginal = 40000L), adapt_delta = list(plain = 0.95, marginal = 0.95)
  )
)

out <- list(
  made_by = "stan_reference.R",
  date = format(Sys.Date()),
  software = list(
    R = paste(R.version$major, R.version$minor, sep = "."), rstan = as.character(packageVersion("rstan")),
    Stan = stan_version(), posterior = as.character(packageVersion("posterior")),
    lme4 = as.character(packageVersion("lme4")), nlme = as.character(packageVersion("nlme"))
  ),
  notes = list(
    mcse = "Monte Carlo standard errors as in Vehtari et al. (2021), doi:10.1214/20-BA1221, by the package posterior",
    quantiles = "R type 7"
  ),
  models = models
)
write_json(out, out_path, auto_unbox = TRUE, digits = NA, pretty = TRUE)
