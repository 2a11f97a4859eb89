# The nested and crossed models of the zoo by lme4 and nlme, for tests/engines/test_nested.py.
#
#   Rscript tests/golden/nested.R        (from the repository root; writes tests/golden/nested.json)
#
# Each case holds lme4's numbers at its optimum, which Newton steps have polished, lme4's criterion at a theta away from
# it, and, where the groups are nested, what nlme's own optimiser finds. Of InstEval there is only the criterion at fixed
# thetas: away from the optimum, and close to it.

suppressMessages({
  library(lme4)
  library(jsonlite)
  library(numDeriv)
})

table <- function(name, labels) {
  found <- read.csv(file.path("hlm_models/parts/datasets", paste0(name, ".csv")))
  for (label in labels) found[[label]] <- factor(found[[label]])
  found
}

cases <- list(
  list(
    model = "oxide", labels = c("lot", "wafer"),
    formula = thickness ~ 1 + (1 | lot / wafer),
    fixed = thickness ~ 1, random = list(lot = ~1, wafer = ~1)
  ),
  list(
    model = "oats", labels = c("block", "variety"),
    formula = yield ~ nitro + (1 | block / variety),
    fixed = yield ~ nitro, random = list(block = ~1, variety = ~1)
  ),
  list(
    model = "pixel", labels = c("dog", "side"),
    formula = pixel ~ day + I(day^2) + (day | dog) + (1 | dog:side),
    fixed = pixel ~ day + I(day^2), random = list(dog = ~day, side = ~1)
  ),
  list(
    model = "pastes", labels = c("batch", "cask"),
    formula = strength ~ 1 + (1 | batch / cask),
    fixed = strength ~ 1, random = list(batch = ~1, cask = ~1)
  )
)

tight <- lmerControl(
  optimizer = "bobyqa", optCtrl = list(rhoend = 1e-10, maxfun = 1e5), calc.derivs = FALSE
)

polished <- function(devfun, theta) {
  for (i in 1:4) {
    step <- solve(hessian(devfun, theta), grad(devfun, theta))
    if (devfun(theta - step) > devfun(theta) + 1e-9) break
    theta <- theta - step
  }
  theta
}

by_lme4 <- function(case, data, reml) {
  devfun <- lmer(case$formula, data, REML = reml, devFunOnly = TRUE)
  fit <- lmer(case$formula, data, REML = reml, control = tight)
  theta <- polished(devfun, getME(fit, "theta"))
  away <- 0.4 + 0.1 * seq_along(theta)
  away <- list(theta = away, criterion = devfun(away))
  criterion <- devfun(theta)  # last, so that what follows is at this theta
  predictor <- environment(devfun)$pp
  n <- nrow(data)
  p <- length(fixef(fit))
  left <- environment(devfun)$resp$wrss() + predictor$sqrL(1)
  s2 <- left / (if (reml) n - p else n)
  at <- 0
  cov <- list()
  for (k in seq_along(getME(fit, "cnms"))) {
    q <- length(getME(fit, "cnms")[[k]])
    L <- matrix(0, q, q)
    L[lower.tri(L, TRUE)] <- theta[at + seq_len(q * (q + 1) / 2)]
    at <- at + q * (q + 1) / 2
    cov[[k]] <- s2 * L %*% t(L)
  }
  list(
    criterion = criterion,
    theta = theta,
    beta = predictor$beta(1),
    vcov = s2 * chol2inv(predictor$RX()),
    sigma = sqrt(s2),
    groups = names(getME(fit, "cnms")),
    cov = cov,
    away = away
  )
}

by_nlme <- function(case, data, reml) {
  fit <- nlme::lme(
    case$fixed, data, case$random,
    method = if (reml) "REML" else "ML",
    control = nlme::lmeControl(msTol = 1e-12, tolerance = 1e-10, returnObject = TRUE)
  )
  list(
    loglik = c(logLik(fit)),
    beta = unname(nlme::fixef(fit)),
    sigma = fit$sigma,
    cov = lapply(fit$modelStruct$reStruct, function(one) fit$sigma^2 * unname(as.matrix(one)))
  )
}

found <- lapply(cases, function(case) {
  data <- table(case$model, case$labels)
  both <- lapply(c(reml = TRUE, ml = FALSE), function(reml) {
    c(by_lme4(case, data, reml), list(nlme = by_nlme(case, data, reml)))
  })
  c(list(model = case$model), both)
})

at_theta <- function(model, formula, thetas) {
  devfuns <- lapply(c(reml = TRUE, ml = FALSE), function(reml) {
    lmer(formula, InstEval, REML = reml, devFunOnly = TRUE)
  })
  one <- function(devfun) lapply(thetas, function(theta) list(theta = theta, criterion = devfun(theta)))
  c(list(model = model), lapply(devfuns, one))
}

insteval <- list(
  at_theta("insteval", y ~ 1 + service + (1 | s) + (1 | d) + (1 | dept), list(c(0.5, 0.6, 0.7), c(0.28, 0.44, 0.06))),
  at_theta("insteval-dept", y ~ 1 + service * dept + (1 | s) + (1 | d), list(c(0.5, 0.6), c(0.28, 0.43)))
)

versions <- c(
  list(R = R.version.string),
  lapply(c(lme4 = "lme4", nlme = "nlme", numDeriv = "numDeriv"), function(name) as.character(packageVersion(name)))
)
write_json(
  list(versions = versions, cases = found, at_theta = insteval),
  "tests/golden/nested.json",
  digits = I(17), auto_unbox = TRUE, pretty = TRUE
)
