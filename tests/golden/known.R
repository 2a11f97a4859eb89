# Known residual standard deviations by metafor, for tests/engines/test_known.py.
#
#   Rscript tests/golden/known.R        (from the repository root; writes tests/golden/known.json)
#
# Meta-analyses: dat.bcg (log relative risks of 13 trials of a vaccine) and dat.konstantopoulos2011 (56 schools in 11
# districts) of metadat, the eight schools of this package, and sleepstudy with made-up standard deviations of its rows,
# 20 + 5 (i mod 4) for the row's number i = 0, 1, ... Each case holds its rows, so that no other file is needed.

suppressMessages({
  library(metafor)
  library(jsonlite)
})

control <- list(REMLf = FALSE)
tight <- list(
  optimizer = "nlminb", rel.tol = 1e-14, iter.max = 10000, eval.max = 10000, sing.tol = 1e-30, REMLf = FALSE
)

univariate <- function(rows, mods, method) {
  arguments <- list(yi = rows$y, sei = rows$se, method = method,
                    control = c(list(threshold = 1e-13, maxiter = 10000), control))
  if (!is.null(mods)) arguments$mods <- model.matrix(as.formula(mods), rows)
  if (!is.null(mods)) arguments$intercept <- FALSE
  do.call(rma, arguments)
}

numbers <- function(fit) {
  list(
    criterion = -2 * as.numeric(logLik(fit)), beta = as.numeric(fit$beta), vcov = unname(vcov(fit)),
    aic = AIC(fit)
  )
}

one_level <- function(data, rows, formula, mods = NULL) {
  both <- lapply(c(reml = "REML", ml = "ML"), function(method) {
    fit <- univariate(rows, mods, method)
    arguments <- list(yi = rows$y, sei = rows$se, method = method, tau2 = 0.3^2, control = control)
    if (!is.null(mods)) arguments <- c(arguments, list(mods = model.matrix(as.formula(mods), rows), intercept = FALSE))
    away <- do.call(rma, arguments)
    tau <- confint(fit, control = list(tol = 1e-12, maxiter = 10000, tau2.max = 1000), type = "PL")
    effects <- ranef(fit)
    c(numbers(fit), list(
      sd = sqrt(fit$tau2), b = as.numeric(effects$pred),
      at = list(sd = 0.3, criterion = -2 * as.numeric(logLik(away))),
      profile = unname(tau$random["tau", c("ci.lb", "ci.ub")]),
      cooks = if (fit$tau2 > 0) as.numeric(cooks.distance(fit)) else NULL
    ))
  })
  fixed <- univariate(rows, mods, "FE")
  moments <- univariate(rows, mods, "DL")
  list(
    data = data, rows = rows, formula = formula, fits = both,
    fixed = list(beta = as.numeric(fixed$beta), se = fixed$se, Q = fixed$QE, p = fixed$QEp), tau2_moments = moments$tau2
  )
}

multilevel <- function(data, rows, formula, fitted) {
  both <- lapply(c(reml = "REML", ml = "ML"), function(method) {
    fit <- fitted(method)
    variances <- if (fit$withG) list(sd = sqrt(fit$tau2), corr = fit$rho) else list(sd = sqrt(fit$sigma2))
    c(numbers(fit), variances)
  })
  list(data = data, rows = rows, formula = formula, fits = both)
}

bcg <- escalc(measure = "RR", ai = tpos, bi = tneg, ci = cpos, di = cneg, data = dat.bcg)
bcg <- data.frame(study = paste0("s", bcg$trial), latitude = bcg$ablat, y = as.numeric(bcg$yi), se = sqrt(bcg$vi))
schools <- read.csv("hlm_models/parts/datasets/eight_schools.csv")
schools <- data.frame(study = schools$school, y = schools$effect, se = schools$se)
districts <- dat.konstantopoulos2011
districts <- data.frame(
  district = paste0("d", districts$district), school = paste0("s", districts$school), y = districts$yi,
  se = sqrt(districts$vi)
)
sleep <- read.csv("hlm_models/parts/datasets/sleepstudy.csv")
sleep <- data.frame(
  subject = paste0("p", sleep$subject), days = sleep$days, y = sleep$reaction,
  se = 20 + 5 * ((seq_len(nrow(sleep)) - 1) %% 4)
)

cases <- list(
  one_level("eight schools", schools, "y ~ 1 + (1 | study)"),
  one_level("bcg", bcg, "y ~ 1 + (1 | study)"),
  one_level("bcg", bcg, "y ~ latitude + (1 | study)", "~ latitude"),
  multilevel("districts", districts, "y ~ 1 + (1 | district/school)", function(method) {
    rma.mv(y, se^2, random = ~ 1 | district/school, data = districts, method = method, control = tight)
  }),
  multilevel("sleepstudy", sleep, "y ~ days + (days | subject)", function(method) {
    rma.mv(y, se^2, mods = ~ days, random = ~ days | subject, struct = "GEN", data = sleep, method = method,
           control = tight)
  })
)

versions <- list(
  R = paste(R.version$major, R.version$minor, sep = "."), metafor = as.character(packageVersion("metafor")),
  metadat = as.character(packageVersion("metadat"))
)
write(
  toJSON(list(versions = versions, cases = cases), digits = NA, auto_unbox = TRUE, pretty = FALSE, null = "null"),
  "tests/golden/known.json"
)
