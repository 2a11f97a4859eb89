# Models with one variance for several effects, by lme4 and nlme, for tests/engines/test_shared.py.
#
#   Rscript tests/golden/shared.R     (from the repository root; writes tests/golden/shared.json)
#
# lme4 has no such covariance, but indicators of f that vary by g with one variance are an intercept
# that varies by g:f. nlme has it as pdIdent. lme4's cake, which is not bundled, is written out too.

suppressMessages({
  library(nlme)
  library(lme4)
  library(jsonlite)
})

tight <- lmerControl(
  optimizer = "nloptwrap",
  optCtrl = list(xtol_rel = 0, xtol_abs = 1e-13, ftol_rel = 0, ftol_abs = 1e-13, maxeval = 1e6)
)

cake <- as.data.frame(lme4::cake)
cake$temperature <- factor(as.character(cake$temperature))
cake$w <- 1 + seq_len(nrow(cake)) %% 4 / 2
cake$kept <- as.integer(seq_len(nrow(cake)) %% 7 != 3 & !(cake$recipe == "B" & cake$replicate %in% 1:4))

# theta is in the order of lme4; `away` is the criterion at another theta.
by_lme4 <- function(formula, data, weights = rep(1, nrow(data))) {
  one <- function(reml) {
    data$weights <- weights
    environment(formula) <- environment()
    fit <- lmer(formula, data, REML = reml, weights = weights, control = tight)
    fit <- update(fit, start = getME(fit, "theta"))
    away <- 0.4 + 0.3 * seq_along(getME(fit, "theta"))
    list(
      criterion = if (reml) REMLcrit(fit) else deviance(fit),
      terms = names(getME(fit, "flist")),
      theta = I(unname(getME(fit, "theta"))), sigma = sigma(fit), beta = unname(fixef(fit)),
      vcov = unname(as.matrix(vcov(fit))),
      away = list(theta = I(away), criterion = update(fit, devFunOnly = TRUE)(away))
    )
  }
  list(reml = one(TRUE), ml = one(FALSE))
}

control <- lmeControl(
  opt = "nlminb", msMaxIter = 500, msMaxEval = 2000, tolerance = 1e-12, msTol = 1e-14,
  niterEM = 200
)

# se: of log sd, from the ends of nlme's interval.
by_nlme <- function(fixed, random, data) {
  one <- function(method) {
    fit <- lme(fixed, data, random = random, method = method, control = control)
    ends <- intervals(fit, which = "var-cov")
    log_se <- function(found) log(found[[3]] / found[[1]]) / (2 * qnorm(0.975))
    list(
      criterion = -2 * as.numeric(logLik(fit)), sigma = fit$sigma, beta = unname(fixef(fit)),
      vcov = unname(fit$varFix),
      sd = fit$sigma * sqrt(pdMatrix(fit$modelStruct$reStruct)[[1]][1, 1]),
      se_log_sd = log_se(unlist(ends$reStruct[[1]][1, c("lower", "est.", "upper")])),
      se_log_sigma = log_se(ends$sigma)
    )
  }
  list(reml = one("REML"), ml = one("ML"))
}

folder <- "hlm_models/parts/datasets"
sleepstudy <- read.csv(file.path(folder, "sleepstudy.csv"))
orthodont <- read.csv(file.path(folder, "orthodont.csv"))
kept <- cake[cake$kept == 1, ]

json <- list(
  made_with = list(
    R = R.version.string, lme4 = as.character(packageVersion("lme4")),
    nlme = as.character(packageVersion("nlme"))
  ),
  cake = lapply(cake, function(x) if (is.factor(x)) as.character(x) else x),
  lme4 = list(
    cake = by_lme4(angle ~ recipe * temperature + (1 | recipe:replicate), cake),
    "cake, two terms" = by_lme4(
      angle ~ recipe * temperature + (1 | recipe:replicate) + (1 | replicate), cake
    ),
    "cake, weights" = by_lme4(angle ~ recipe + (1 | recipe:replicate), cake, cake$w),
    "cake, crossed" = by_lme4(angle ~ recipe + (1 | recipe:replicate) + (1 | temperature), kept)
  ),
  nlme = list(
    sleepstudy = by_nlme(reaction ~ days, list(subject = pdIdent(~days)), sleepstudy),
    orthodont = by_nlme(distance ~ age * sex, list(subject = pdIdent(~age)), orthodont)
  )
)
write_json(
  json, "tests/golden/shared.json", digits = I(15), auto_unbox = TRUE, null = "null", pretty = FALSE
)
