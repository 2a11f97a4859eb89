# What lme4's users extract from a fit, for tests/results/test_extract.py and its neighbours.
#
#   Rscript tests/golden/extract.R     (from the repository root; writes tests/golden/extract.json)
#
# Variances of predictions are not lme4's, whose standard errors leave parts out: they are the
# inverse of the mixed model equations (Henderson 1975, doi:10.2307/2529430), formed in full.
# Variance shares are the formulas of Nakagawa and Schielzeth (2013) and Johnson (2014), in full.

suppressMessages({library(jsonlite); library(lme4); library(lmerTest)})

folder <- "hlm_models/parts/datasets"
read <- function(name, groups) {
  data <- read.csv(file.path(folder, paste0(name, ".csv")))
  for (group in groups) data[[group]] <- factor(data[[group]], levels = unique(data[[group]]))
  data
}
sleepstudy <- read("sleepstudy", "subject")
penicillin <- read("penicillin", c("plate", "sample"))
pastes <- read("pastes", c("batch", "cask"))
# Groups of several sizes, weights and an offset.
uneven <- sleepstudy
i <- seq_len(nrow(uneven))
uneven$w <- 1 + i %% 3
uneven$o <- i %% 5
uneven <- uneven[i %% 7 != 0 & i > 6, ]

tight <- lmerControl(optCtrl = list(xtol_abs = 1e-12, ftol_abs = 1e-12, maxeval = 1e5))
fits <- list(
  sleepstudy = lmer(reaction ~ days + (days | subject), sleepstudy, control = tight),
  uneven = lmer(reaction ~ days + offset(o) + (days | subject), uneven, weights = w, control = tight),
  penicillin = lmer(diameter ~ 1 + (1 | plate) + (1 | sample), penicillin, control = tight),
  pastes = lmer(strength ~ 1 + (1 | batch / cask), pastes, control = tight)
)
# Rows to predict: predictors, and the levels of existing groups.
new <- list(
  sleepstudy = data.frame(days = c(0, 4.5, 20, -3), subject = c("308", "309", "335", "372")),
  uneven = data.frame(
    days = c(0, 4.5, 20, -3), subject = c("308", "309", "335", "372"), o = c(0, 1, 2, 3),
    w = c(1, 2, 0.5, 4)
  ),
  penicillin = data.frame(plate = c("a", "x", "m"), sample = c("A", "F", "C")),
  pastes = data.frame(batch = c("A", "J"), cask = c("a", "c"))
)
by <- list(sleepstudy = "subject", uneven = "subject", penicillin = c("plate", "sample"), pastes = "batch")

rows_of <- function(fit, data) {
  # X and Z of rows in the columns of the fit, levels that it has.
  x <- model.matrix(delete.response(terms(fit)), data)
  Z <- matrix(0, nrow(data), ncol(getME(fit, "Z")))
  at <- 0
  flist <- getME(fit, "flist")
  for (k in seq_along(getME(fit, "cnms"))) {
    name <- names(getME(fit, "cnms"))[k]
    effects <- getME(fit, "cnms")[[k]]
    levels <- levels(flist[[name]])
    label <- do.call(paste, c(lapply(strsplit(name, ":")[[1]], function(f) as.character(data[[f]])), sep = ":"))
    for (i in seq_len(nrow(data))) {
      j <- match(label[i], levels)
      for (e in seq_along(effects)) {
        value <- if (effects[e] == "(Intercept)") 1 else data[[effects[e]]][i]
        Z[i, at + (j - 1) * length(effects) + e] <- value
      }
    }
    at <- at + length(levels) * length(effects)
  }
  list(x = x, z = Z)
}

prediction <- function(fit, data) {
  rows <- rows_of(fit, data)
  s2 <- sigma(fit)^2
  w <- weights(fit, type = "prior")
  X <- getME(fit, "X")
  Z <- as.matrix(getME(fit, "Z"))
  Psi <- s2 * as.matrix(tcrossprod(getME(fit, "Lambda")))
  C <- cbind(X, Z)
  p <- ncol(X)
  M <- crossprod(C, w * C) / s2
  M[-(1:p), -(1:p)] <- M[-(1:p), -(1:p)] + solve(Psi)
  c <- cbind(rows$x, rows$z)
  total <- rowSums((c %*% solve(M)) * c)
  given <- rowSums((rows$z %*% solve(M[-(1:p), -(1:p)])) * rows$z)
  o <- if (is.null(data$o)) 0 else data$o
  list(
    data = data, existing = as.vector(predict(fit, data)), se = sqrt(total), var_group = given,
    population = as.vector(rows$x %*% fixef(fit)) + o,
    population_se = sqrt(rowSums((rows$x %*% as.matrix(vcov(fit))) * rows$x)),
    population_df = sapply(seq_len(nrow(data)), function(i) contest1D(as_lmerModLmerTest(fit), rows$x[i, ])$df),
    typical_se = sqrt(rowSums((rows$x %*% as.matrix(vcov(fit))) * rows$x) + rowSums((rows$z %*% Psi) * rows$z))
  )
}

shares <- function(fit) {
  Z <- as.matrix(getME(fit, "Z"))
  Psi <- sigma(fit)^2 * as.matrix(tcrossprod(getME(fit, "Lambda")))
  fixed <- var(as.vector(getME(fit, "X") %*% fixef(fit)))
  random <- mean(rowSums((Z %*% Psi) * Z))
  left <- mean(sigma(fit)^2 / weights(fit, type = "prior"))
  total <- fixed + random + left
  list(adjusted = random / (random + left), unadjusted = random / total,
       r2_marginal = fixed / total, r2_conditional = (fixed + random) / total)
}

of <- function(name) {
  fit <- fits[[name]]
  data <- get(name)
  cooks <- lapply(setNames(by[[name]], by[[name]]), function(group) {
    found <- influence(fit, groups = group, data = data)
    list(level = as.character(found$deleted), distance = unname(cooks.distance(found)))
  })
  list(
    theta = I(unname(getME(fit, "theta"))),
    fixef = as.list(fixef(fit)), vcov = unname(as.matrix(vcov(fit))),
    ranef = as.data.frame(ranef(fit, condVar = TRUE)),
    coef = lapply(coef(fit), function(one) cbind(level = rownames(one), one)),
    varcorr = as.data.frame(VarCorr(fit)),
    fitted = unname(fitted(fit)), population = unname(predict(fit, re.form = NA)),
    raw = unname(residuals(fit)), pearson = unname(residuals(fit, type = "pearson")),
    scaled = unname(residuals(fit, type = "pearson", scaled = TRUE)),
    hatvalues = unname(hatvalues(fit)), cooks_rows = unname(cooks.distance(fit)), cooks = cooks,
    prediction = prediction(fit, new[[name]]), shares = shares(fit)
  )
}

# A fit from the start: lme4's refit() ends 1.17 above it.
again <- lmer(sqrt(reaction) ~ days + (days | subject), sleepstudy, control = tight)
versions <- lapply(c(lme4 = "lme4", lmerTest = "lmerTest"), function(p) as.character(packageVersion(p)))
write_json(
  list(
    versions = c(versions, R = as.character(getRversion())),
    fits = lapply(setNames(names(fits), names(fits)), of),
    refit = list(criterion = REMLcrit(again), fixef = unname(fixef(again)))
  ),
  "tests/golden/extract.json", auto_unbox = TRUE, digits = NA, na = "null", pretty = FALSE
)
