# rstanarm: Stan, compiled beforehand. What it cannot say: a prior of each standard deviation; it
# has decov, with LKJ's shape for the correlations and its own prior of the variances.
started <- as.numeric(Sys.getenv("BENCHMARK_STARTED"))
now <- function() as.numeric(Sys.time()) - started
suppressMessages(library(rstanarm))
imports <- now()
arguments <- commandArgs(trailingOnly = TRUE)
folder <- arguments[1]; out <- arguments[2]
settings <- jsonlite::fromJSON(arguments[3])
case <- jsonlite::fromJSON(file.path(folder, "case.json"), simplifyDataFrame = FALSE)
d <- read.csv(file.path(folder, "data.csv"))
for (term in case$terms) d[[term$group]] <- factor(d[[term$group]])
tuning <- if (is.null(settings$tune)) 1000 else settings$tune
correlated <- Filter(function(term) !is.null(term$eta), case$terms)
before <- now()
fit <- stan_lmer(
  as.formula(case$formula), d,
  prior = normal(case$beta[-1, 1], case$beta[-1, 2], autoscale = FALSE),
  prior_intercept = normal(case$beta[1, 1], case$beta[1, 2], autoscale = FALSE),
  prior_aux = student_t(case$sigma[1], 0, case$sigma[2], autoscale = FALSE),
  prior_covariance = decov(regularization = if (length(correlated)) correlated[[1]]$eta else 1),
  chains = settings$chains, cores = settings$cores, seed = settings$seed,
  iter = tuning + settings$draws, warmup = tuning, refresh = 0
)
sampled <- now()
saveRDS(fit, file.path(out, "posterior.rds"))
wall <- now()

draws <- as.array(fit) # draw, chain, parameter
stanname <- function(name) if (name == "Intercept") "(Intercept)" else name
population <- list()
for (name in case$coef) population[[paste0("beta[", name, "]")]] <- draws[, , stanname(name)]
for (term in case$terms) {
  g <- term$group
  Sigma <- function(a, c) draws[, , sprintf("Sigma[%s:%s,%s]", g, stanname(a), stanname(c))]
  for (i in seq_along(term$effects)) {
    a <- term$effects[i]
    population[[sprintf("sd_%s[%s]", g, a)]] <- sqrt(Sigma(a, a))
    for (c in term$effects[seq_len(i - 1)]) {
      population[[sprintf("corr_%s[%s, %s]", g, c, a)]] <- Sigma(a, c) / sqrt(Sigma(a, a) * Sigma(c, c))
    }
  }
}
population$sigma <- draws[, , "sigma"]
# as.vector goes down the draws of one chain first
jsonlite::write_json(lapply(population, as.vector), file.path(out, "population.json"), digits = NA)
# rstanarm throws the statistics of tuning away: the cost of a gradient is that of the draws kept
elapsed <- rstan::get_elapsed_time(fit$stanfit)
kept <- rstan::get_sampler_params(fit$stanfit, inc_warmup = FALSE)
total <- function(parts, name) sum(sapply(parts, function(part) sum(part[, name])))
jsonlite::write_json(list(
  wall = wall, imports = imports, sampling = sum(elapsed) / settings$cores, tuning = tuning,
  steps = NULL, gradient = 1e6 * sum(elapsed[, "sample"]) / total(kept, "n_leapfrog__"), steps_kept = total(kept, "n_leapfrog__"),
  divergences = total(kept, "divergent__"), stages = list(fit = sampled - before, save = wall - sampled),
  versions = list(rstanarm = as.character(packageVersion("rstanarm")),
                  rstan = as.character(packageVersion("rstan")),
                  R = as.character(getRversion()))
), file.path(out, "result.json"), auto_unbox = TRUE, digits = NA, null = "null")
