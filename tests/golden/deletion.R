# Models fitted again without each level of a group, by lme4, for tests/results/test_deletion.py.
#
#   Rscript tests/golden/deletion.R     (from the repository root; writes tests/golden/deletion.json)
#
# A loop of fits with tight tolerances. log_density is that of the level's rows given all others: the
# dense normal log density of all rows less that of the others, both at the estimates from the
# others. `cooks` are those of lme4's own influence(fit, groups), whose fits are by its default
# tolerances; they are (J - p) / J times as large as the quadratic form over p.

suppressMessages({
  library(lme4)
  library(jsonlite)
})

tight <- lmerControl(
  optimizer = "nloptwrap",
  optCtrl = list(xtol_rel = 0, xtol_abs = 1e-13, ftol_rel = 0, ftol_abs = 1e-13, maxeval = 1e6)
)

# log p(y) of the rows of `data` at the estimates of `fit`.
density_at <- function(fit, formula, data) {
  parsed <- lFormula(formula, data)
  Lambdat <- parsed$reTrms$Lambdat
  Lambdat@x <- getME(fit, "theta")[parsed$reTrms$Lind]
  Zt <- as.matrix(Lambdat %*% parsed$reTrms$Zt)
  L <- chol(sigma(fit)^2 * (crossprod(Zt) + diag(ncol(Zt))))
  r <- model.response(parsed$fr) - drop(parsed$X %*% fixef(fit))
  half <- backsolve(L, r, transpose = TRUE)
  -(length(r) * log(2 * pi) + 2 * sum(log(diag(L))) + sum(half^2)) / 2
}

without_each <- function(formula, data, by, reml) {
  lapply(unique(as.character(data[[by]])), function(level) {
    rest <- droplevels(data[as.character(data[[by]]) != level, ])
    first <- lmer(formula, rest, REML = reml, control = tight)
    fit <- lmer(formula, rest, REML = reml, control = tight, start = getME(first, "theta"))
    terms <- VarCorr(fit)
    lower <- function(one) {
      corr <- attr(one, "correlation")
      unname(corr[lower.tri(corr)])
    }
    list(
      level = level, n = nrow(data) - nrow(rest), beta = I(unname(fixef(fit))), sigma = sigma(fit),
      sd = lapply(terms, function(one) I(unname(attr(one, "stddev")))),
      corr = lapply(terms, function(one) I(lower(one))),
      log_density = density_at(fit, formula, data) - density_at(fit, formula, rest)
    )
  })
}

by_lme4 <- function(formula, data, by) {
  # lme4 evaluates the formula's data and weights where the formula was made.
  environment(formula) <- environment()
  for (name in names(data)) if (is.character(data[[name]])) data[[name]] <- factor(data[[name]])
  fit <- lmer(formula, data, control = tight)
  found <- influence(fit, groups = by)
  list(
    by = by,
    cooks = as.list(cooks.distance(found)),
    cooks_levels = rownames(found[[paste0("fixed.effects[-", by, "]")]]),
    reml = without_each(formula, data, by, TRUE),
    ml = without_each(formula, data, by, FALSE)
  )
}

folder <- "hlm_models/parts/datasets"
read <- function(name) read.csv(file.path(folder, paste0(name, ".csv")))
sleepstudy <- read("sleepstudy")
sleepstudy$subject <- as.character(sleepstudy$subject)

json <- list(
  made_with = list(R = R.version.string, lme4 = as.character(packageVersion("lme4"))),
  dyestuff = by_lme4(yield ~ 1 + (1 | batch), read("dyestuff"), "batch"),
  "sleepstudy-slopes" = by_lme4(reaction ~ days + (days | subject), sleepstudy, "subject"),
  penicillin = by_lme4(diameter ~ 1 + (1 | plate) + (1 | sample), read("penicillin"), "sample")
)
write_json(
  json, "tests/golden/deletion.json", digits = I(15), auto_unbox = TRUE, null = "null",
  pretty = FALSE
)
