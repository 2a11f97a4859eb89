# Posteriors under shrinkage priors by rstanarm and Stan, for tests/engines/test_shrinkage_engines.py.
#
#   Rscript tests/golden/shrinkage.R        (from the repository root; writes tests/golden/shrinkage.json)
#
# Needs R with rstanarm, rstan, posterior, jsonlite and a C++ compiler. The data are R's mtcars: mpg on eight
# standardised columns, by carb where there are groups; the JSON holds the rows. The draws are not kept.
#
#   rstanarm   stan_glm with its regularised horseshoe, hs(): no groups. rstanarm centres the columns, whose means are
#              zero as they are, so its prior of the intercept is that of the intercept at zero
#              (adapt_delta 0.995, 4500 draws a chain)
#   horseshoe  a Stan program with a random intercept; z, lambda, tau and c^2 are its parameters, tau relative to sigma
#              (adapt_delta 0.999, 20000 draws a chain: a run of 4500 draws at 0.995 diverged once, and missed the mean
#              of one coefficient by 5 of its standard errors)
#   r2d2       the same with R2 and phi, in the parameterisation that brms documents: mean_R2, prec_R2, cons_D2

suppressMessages({
  library(rstanarm)
  library(rstan)
  library(posterior)
  library(jsonlite)
})

# Debian keeps the headers of BH elsewhere.
if (!file.exists(rstan_options("boost_lib"))) rstan_options(boost_lib = "/usr/include")

seed <- 20270211L
chains <- 4L

columns <- c("disp", "hp", "drat", "wt", "qsec", "vs", "am", "gear")
X <- scale(as.matrix(mtcars[columns]))
rows <- data.frame(mpg = mtcars$mpg, X, carb = mtcars$carb)
n <- nrow(rows)
D <- length(columns)
s_y <- sd(rows$mpg)
priors <- list(
  intercept = list(loc = mean(rows$mpg), scale = 2.5 * s_y), sigma = list(df = 3, scale = s_y),
  sd = list(df = 3, scale = s_y),
  horseshoe = list(df = 1, df_global = 1, scale_global = 2 / (D - 2) / sqrt(n), slab_df = 4, slab_scale = 2.5 * s_y),
  r2d2 = list(mean_r2 = 0.4, prec_r2 = 5, cons_d2 = 0.5)
)

head <- "
data {
  int<lower=1> n;
  int<lower=1> D;
  int<lower=1> J;
  int<lower=1, upper=J> group[n];
  matrix[n, D] X;
  vector[n] y;
  real intercept_loc;
  real<lower=0> intercept_scale;
  real<lower=0> sigma_scale;
  real<lower=0> sd_scale;
"
model <- "
  target += normal_lpdf(intercept | intercept_loc, intercept_scale);
  target += student_t_lpdf(sigma | 3, 0, sigma_scale);
  target += student_t_lpdf(sd_b | 3, 0, sd_scale);
  target += std_normal_lpdf(z);
  target += std_normal_lpdf(z_b);
  target += normal_lpdf(y | intercept + X * beta + (sd_b * z_b)[group], sigma);
}
"
common <- "
parameters {
  real intercept;
  real<lower=0> sigma;
  real<lower=0> sd_b;
  vector[J] z_b;
  vector[D] z;
"

horseshoe_code <- paste0(head, "
  real<lower=0> df;
  real<lower=0> df_global;
  real<lower=0> scale_global;
  real<lower=0> slab_df;
  real<lower=0> slab_scale;
}", common, "
  vector<lower=0>[D] lambda;
  real<lower=0> tau;
  real<lower=0> slab;
}
transformed parameters {
  real c2 = square(slab_scale) * slab;
  vector[D] lambda2 = square(lambda);
  vector[D] beta = z .* sqrt(c2 * lambda2 ./ (c2 + square(tau) * lambda2)) * tau;
}
model {
  target += student_t_lpdf(lambda | df, 0, 1);
  target += student_t_lpdf(tau | df_global, 0, scale_global * sigma);
  target += inv_gamma_lpdf(slab | 0.5 * slab_df, 0.5 * slab_df);", model)

r2d2_code <- paste0(head, "
  real<lower=0, upper=1> mean_r2;
  real<lower=0> prec_r2;
  real<lower=0> cons_d2;
}", common, "
  real<lower=0, upper=1> r2;
  simplex[D] phi;
}
transformed parameters {
  vector[D] beta = z .* sqrt(phi * square(sigma) * r2 / (1 - r2));
}
model {
  target += beta_lpdf(r2 | mean_r2 * prec_r2, (1 - mean_r2) * prec_r2);
  target += dirichlet_lpdf(phi | rep_vector(cons_d2, D));", model)

summaries <- function(draws, names) {
  lapply(setNames(seq_along(names), names), function(k) {
    x <- extract_variable_matrix(draws, variables(draws)[k])
    list(
      mean = mean(x), sd = sd(x), q05 = unname(quantile(x, 0.05)), q95 = unname(quantile(x, 0.95)),
      mcse = list(
        mean = mcse_mean(x), sd = mcse_sd(x), q05 = unname(mcse_quantile(x, 0.05)),
        q95 = unname(mcse_quantile(x, 0.95))
      ),
      rhat = rhat(x), ess_bulk = ess_bulk(x), ess_tail = ess_tail(x)
    )
  })
}

told <- function(fit, names, labels) {
  draws <- subset_draws(as_draws_array(as.array(fit)), names)
  stan <- if (inherits(fit, "stanfit")) fit else fit$stanfit
  list(parameters = summaries(draws, labels), divergences = sum(get_divergent_iterations(stan)))
}

labels <- c("beta[Intercept]", paste0("beta[", columns, "]"), "sigma")

by_rstanarm <- function() {
  hs <- priors$horseshoe
  fit <- stan_glm(
    reformulate(columns, "mpg"),
    data = rows, family = gaussian(),
    prior = hs(
      df = hs$df, global_df = hs$df_global, global_scale = hs$scale_global, slab_df = hs$slab_df,
      slab_scale = hs$slab_scale
    ),
    prior_intercept = normal(priors$intercept$loc, priors$intercept$scale, autoscale = FALSE),
    prior_aux = student_t(3, 0, s_y, autoscale = FALSE),
    chains = chains, iter = 6000, warmup = 1500, seed = seed, adapt_delta = 0.995, cores = 1, refresh = 0,
    control = list(max_treedepth = 14)
  )
  told(fit, c("(Intercept)", columns, "sigma"), labels)
}

by_stan <- function(code, settings, extra, extra_labels) {
  data <- c(
    list(
      n = n, D = D, J = length(unique(rows$carb)), group = as.integer(factor(rows$carb)), X = X, y = rows$mpg,
      intercept_loc = priors$intercept$loc, intercept_scale = priors$intercept$scale, sigma_scale = s_y, sd_scale = s_y
    ),
    settings
  )
  fit <- sampling(
    stan_model(model_code = code), data = data, chains = chains, iter = 22000, warmup = 2000, seed = seed, cores = 1,
    refresh = 0, control = list(adapt_delta = 0.999, max_treedepth = 14)
  )
  names <- c("intercept", paste0("beta[", seq_len(D), "]"), "sigma", "sd_b", extra)
  told(fit, names, c(labels, "sd_carb[Intercept]", extra_labels))
}

rownames(rows) <- NULL
cases <- list(
  rstanarm = by_rstanarm(),
  horseshoe = by_stan(horseshoe_code, priors$horseshoe, "tau", "tau_beta"),
  r2d2 = by_stan(r2d2_code, priors$r2d2, "r2", "r2_beta")
)
versions <- lapply(c("rstanarm", "rstan", "StanHeaders", "posterior", "jsonlite"), function(name) {
  as.character(packageVersion(name))
})
names(versions) <- c("rstanarm", "rstan", "StanHeaders", "posterior", "jsonlite")
out <- list(
  about = "mtcars: mpg on eight standardised columns; 4 chains: rstanarm 4500 draws, adapt_delta 0.995; others 20000, 0.999",
  made_by = "tests/golden/shrinkage.R", R = R.version.string, packages = versions, seed = seed,
  rows = rows, priors = priors, cases = cases
)
write_json(out, "tests/golden/shrinkage.json", auto_unbox = TRUE, digits = NA, pretty = TRUE, dataframe = "columns")
for (case in names(cases)) cat(case, cases[[case]]$divergences, "\n")
