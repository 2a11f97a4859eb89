# Models without groups by lm, for tests/engines/test_pooled.py.
#
#   Rscript tests/golden/pooled.R        (from the repository root; writes tests/golden/pooled.json)
#
# radon of this package, and mtcars of R, whose rows are in the file, with weights and an offset. log likelihoods are
# logLik's, ML and REML. Known residual standard deviations by nlme's gls with sigma fixed at 1, whose
# covariance by ML has a factor n / (n - p) that is about an estimated sigma: it is that of REML here. The likelihood ratio
# of radon's counties is lmerTest's ranova, whose p value is the naive one.

suppressMessages({
  library(lmerTest)
  library(nlme)
  library(jsonlite)
})

fitted_by_lm <- function(fit) {
  p <- length(coef(fit))
  shown <- summary(fit)
  list(
    names = names(coef(fit)), beta = unname(coef(fit)), se = unname(shown$coefficients[, "Std. Error"]),
    p = unname(shown$coefficients[, "Pr(>|t|)"]), interval = unname(confint(fit)),
    sigma = shown$sigma, df = fit$df.residual,
    loglik = list(ml = as.numeric(logLik(fit)), reml = as.numeric(logLik(fit, REML = TRUE))),
    aic = list(ml = AIC(logLik(fit)), reml = AIC(logLik(fit, REML = TRUE))), bic = BIC(logLik(fit))
  )
}

radon <- read.csv("hlm_models/parts/datasets/radon.csv")
cars <- data.frame(
  mpg = mtcars$mpg, wt = mtcars$wt, cyl = paste0("c", mtcars$cyl), hp = mtcars$hp, qsec = mtcars$qsec,
  sd = round(0.5 + mtcars$disp / 200, 2)
)
known <- function(method) {
  gls(mpg ~ wt, cars, weights = varFixed(~ I(sd^2)), method = method, control = glsControl(sigma = 1))
}
terms <- anova(lm(mpg ~ wt + cyl, cars, weights = hp), lm(mpg ~ wt, cars, weights = hp))
new <- data.frame(wt = c(2, 5), cyl = "c6", qsec = c(15, 20))
weighted <- lm(mpg ~ wt + cyl + offset(qsec / 10), cars, weights = hp)
counties <- ranova(lmer(log_radon ~ floor + (1 | county), radon, control = lmerControl(optCtrl = list(
  rhoend = 1e-10
), optimizer = "bobyqa")))

found <- list(
  versions = list(
    R = R.version.string, nlme = as.character(packageVersion("nlme")), lme4 = as.character(packageVersion("lme4")),
    lmerTest = as.character(packageVersion("lmerTest"))
  ),
  cars = cars,
  radon = fitted_by_lm(lm(log_radon ~ floor, radon)),
  mean = fitted_by_lm(lm(mpg ~ 1, cars)),
  origin = fitted_by_lm(lm(mpg ~ 0 + wt, cars)),
  weighted = c(fitted_by_lm(weighted), list(
    leverage = unname(hatvalues(weighted)), cooks = unname(cooks.distance(weighted))
  )),
  predicted = list(
    new = new, mean = unname(predict(weighted, new)),
    interval = unname(predict(weighted, new, interval = "confidence", weights = 1)[, 2:3])
  ),
  cyl = list(F = terms$F[2], p = terms[["Pr(>F)"]][2], df = terms$Res.Df[1]),
  known = list(
    beta = unname(coef(known("ML"))), vcov = unname(vcov(known("REML"))),
    loglik = list(ml = as.numeric(logLik(known("ML"))), reml = as.numeric(logLik(known("REML"))))
  ),
  counties = list(statistic = counties$LRT[2], naive = counties[["Pr(>Chisq)"]][2])
)
write_json(found, "tests/golden/pooled.json", digits = I(17), auto_unbox = TRUE, pretty = FALSE)
