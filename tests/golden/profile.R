# Profile likelihood intervals and likelihood-ratio statistics from lme4, with tight settings.
#
#   Rscript tests/golden/profile.R tests/golden/profile.json
#
# Needs R with lme4, nlme (Orthodont) and jsonlite. Names of parameters are mapped to ours.

suppressMessages({
  library(lme4)
  library(jsonlite)
})

arguments <- commandArgs(trailingOnly = TRUE)
if (length(arguments) != 1) stop("usage: Rscript profile.R OUTPUT.json")

tight <- lmerControl(optimizer = "bobyqa", optCtrl = list(rhobeg = 0.2, rhoend = 1e-10, maxfun = 1e5))

orthodont <- as.data.frame(nlme::Orthodont)
orthodont$Subject <- factor(as.character(orthodont$Subject))

models <- list(
  "sleepstudy-slopes" = list(Reaction ~ Days + (Days | Subject), sleepstudy),
  "sleepstudy-uncorrelated" = list(Reaction ~ Days + (Days || Subject), sleepstudy),
  "dyestuff" = list(Yield ~ 1 + (1 | Batch), Dyestuff),
  "dyestuff2" = list(Yield ~ 1 + (1 | Batch), Dyestuff2),
  "penicillin" = list(diameter ~ 1 + (1 | plate) + (1 | sample), Penicillin),
  "pastes" = list(strength ~ 1 + (1 | batch / cask), Pastes),
  "orthodont" = list(distance ~ age + (age | Subject), orthodont)
)

renamed <- function(name) {
  name <- gsub("(Intercept)", "Intercept", tolower(name), fixed = TRUE)
  name <- gsub("(intercept)", "Intercept", name, fixed = TRUE)
  name <- gsub("cask:batch", "batch:cask", name, fixed = TRUE)
  if (name == "sigma") return(name)
  # sd_(Intercept)|g and cor_x.(Intercept)|g, as confint(oldNames = FALSE) writes them
  if (grepl("^sd_", name)) return(sub("^sd_(.*)\\|(.*)$", "sd_\\2[\\1]", name))
  if (grepl("^cor_", name)) return(sub("^cor_(.*)\\.(.*)\\|(.*)$", "corr_\\3[\\2, \\1]", name))
  paste0("beta[", name, "]")
}

intervals <- lapply(models, function(model) {
  fit <- lmer(model[[1]], model[[2]], REML = FALSE, control = tight)
  # The fit's optimiser and its settings serve the profile too.
  profiled <- profile(fit, signames = FALSE, delta.cutoff = 1 / 32, maxpts = 1000, devtol = 1e-6)
  ends <- confint(profiled)
  found <- lapply(seq_len(nrow(ends)), function(i) list(lower = ends[i, 1], upper = ends[i, 2]))
  names(found) <- vapply(rownames(ends), renamed, "")
  list(deviance = unname(-2 * c(logLik(fit))), intervals = found)
})

ratio <- function(smaller, larger, data) {
  table <- anova(
    lmer(smaller, data, REML = FALSE, control = tight),
    lmer(larger, data, REML = FALSE, control = tight)
  )
  list(
    smaller = paste(deparse(smaller), collapse = ""), larger = paste(deparse(larger), collapse = ""),
    statistic = table$Chisq[2], df = table$Df[2], p = table[["Pr(>Chisq)"]][2]
  )
}

ratios <- list(
  "sleepstudy: one slope, correlated" = ratio(
    Reaction ~ Days + (1 | Subject), Reaction ~ Days + (Days | Subject), sleepstudy
  ),
  "sleepstudy: a coefficient" = ratio(
    Reaction ~ 1 + (Days | Subject), Reaction ~ Days + (Days | Subject), sleepstudy
  ),
  "sleepstudy: a correlation" = ratio(
    Reaction ~ Days + (Days || Subject), Reaction ~ Days + (Days | Subject), sleepstudy
  ),
  "pastes: one more factor" = ratio(
    strength ~ 1 + (1 | batch:cask), strength ~ 1 + (1 | batch / cask), Pastes
  )
)

write_json(
  list(
    about = "lme4: confint of profile (ML), anova of ML fits",
    versions = list(R = R.version.string, lme4 = as.character(packageVersion("lme4"))),
    intervals = intervals, ratios = ratios
  ),
  arguments[1], auto_unbox = TRUE, digits = 12, pretty = TRUE, na = "null"
)
