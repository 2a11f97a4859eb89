# Weights, offset and contrasts by lme4, for tests/engines/test_weights.py.
#
#   Rscript tests/golden/weights.R        (from the repository root; writes tests/golden/weights.json)
#
# Each case holds the model, lme4's numbers at its optimum, and its criterion at a theta away from it. Weights and offset
# are made from the row's number i = 0, 1, ...: w = 1 + (i mod 4), o = 5 (i mod 3).

suppressMessages({
  library(lme4)
  library(jsonlite)
})

table <- function(name, labels) {
  found <- read.csv(file.path("hlm_models/parts/datasets", paste0(name, ".csv")))
  for (label in labels) found[[label]] <- factor(found[[label]])
  i <- seq_len(nrow(found)) - 1
  found$w <- 1 + i %% 4
  found$o <- 5 * (i %% 3)
  found
}

tables <- list(
  sleepstudy = table("sleepstudy", "subject"),
  penicillin = table("penicillin", c("plate", "sample")),
  orthodont = table("orthodont", c("subject", "sex")),
  pastes = table("pastes", c("batch", "cask"))
)

# contrasts: as in a model file; last: the reference level put last for R's contr.sum.
cases <- list(
  list(data = "sleepstudy", formula = "reaction ~ days + (days | subject)", weights = "w", offset = "o"),
  list(data = "sleepstudy", formula = "reaction ~ days + (days | subject)", weights = "w", offset = NULL),
  list(data = "sleepstudy", formula = "reaction ~ days + (1 | subject)", weights = NULL, offset = "o"),
  list(data = "penicillin", formula = "diameter ~ 1 + (1 | plate) + (1 | sample)", weights = "w", offset = "o"),
  list(data = "orthodont", formula = "distance ~ age*sex + (age | subject)", weights = NULL, offset = NULL,
       contrasts = list(sex = list(kind = "sum"))),
  list(data = "orthodont", formula = "distance ~ age*sex + (1 | subject)", weights = "w", offset = NULL,
       contrasts = list(sex = list(kind = "treatment", reference = "Male"))),
  list(data = "penicillin", formula = "diameter ~ sample + (1 | plate)", weights = "w", offset = "o",
       contrasts = list(sample = list(kind = "sum", reference = "B"))),
  list(data = "pastes", formula = "strength ~ cask + (cask | batch)", weights = NULL, offset = NULL,
       contrasts = list(cask = list(kind = "sum")))
)

tight <- lmerControl(
  optimizer = "bobyqa", optCtrl = list(rhoend = 1e-10, maxfun = 1e5), calc.derivs = FALSE,
  check.conv.singular = "ignore"
)

coded <- function(data, contrasts) {
  for (name in names(contrasts)) {
    one <- contrasts[[name]]
    levels <- levels(data[[name]])
    last <- if (is.null(one$reference)) levels[length(levels)] else one$reference
    if (one$kind == "sum") {
      data[[name]] <- factor(data[[name]], levels = c(setdiff(levels, last), last))
      contrasts(data[[name]]) <- contr.sum(length(levels))
    } else {
      data[[name]] <- relevel(data[[name]], ref = last)
    }
  }
  data
}

fitted_case <- function(case) {
  data <- coded(tables[[case$data]], case$contrasts)
  w <- if (is.null(case$weights)) rep(1, nrow(data)) else data[[case$weights]]
  o <- if (is.null(case$offset)) rep(0, nrow(data)) else data[[case$offset]]
  data$.w <- w
  data$.o <- o
  one <- function(reml) {
    fit <- lmer(as.formula(case$formula), data, REML = reml, weights = .w, offset = .o, control = tight)
    # Once more from its end, for a few more digits.
    fit <- update(fit, start = getME(fit, "theta"))
    away <- 0.4 + 0.1 * seq_along(getME(fit, "theta"))
    devfun <- update(fit, devFunOnly = TRUE)
    list(
      criterion = if (reml) REMLcrit(fit) else deviance(fit),
      beta = unname(fixef(fit)),
      vcov = unname(as.matrix(vcov(fit))),
      theta = unname(getME(fit, "theta")),
      sigma = sigma(fit),
      b = lapply(ranef(fit, condVar = FALSE), function(b) list(level = rownames(b), b = unname(as.matrix(b)))),
      away = list(theta = away, criterion = devfun(away))
    )
  }
  c(case, list(reml = one(TRUE), ml = one(FALSE)))
}

versions <- list(R = R.version.string, lme4 = as.character(packageVersion("lme4")))
write_json(
  list(versions = versions, cases = lapply(cases, fitted_case)),
  "tests/golden/weights.json",
  digits = I(17), auto_unbox = TRUE, null = "null", pretty = TRUE
)
