# The models of the zoo by REML and ML of other software, for the references in configs/*.yaml.
#
#   HLM_DATA=FOLDER Rscript tests/golden/zoo.R [MODEL...]   (from the repository root; writes tests/golden/zoo.json)
#
# Models that are named are fitted anew and put in the place of what the file holds of them.
#
# lme4, at the optimum of its own deviance function: bobyqa from several starts, then Newton steps on the thetas that are
# not on their bound, so that estimates, not only criteria, are good to about 1e-7 (InstEval: 1e-5). metafor where the residual standard
# deviations are known, lm where there is no group. The data are those that the package bundles (InstEval that of lme4),
# and nels.csv in HLM_DATA. Names are the package's.

suppressMessages({
  library(lme4)
  library(metafor)
  library(jsonlite)
  library(numDeriv)
})

bundled <- function(name, ...) {
  found <- read.csv(file.path("hlm_models/parts/datasets", paste0(name, ".csv")))
  for (label in c(...)) found[[label]] <- factor(found[[label]])
  found
}

# ---- lme4 ----

tight <- function(rhobeg, rhoend = 1e-10) {
  lmerControl(
    optimizer = "bobyqa", optCtrl = list(rhobeg = rhobeg, rhoend = rhoend, maxfun = 1e6),
    calc.derivs = FALSE, check.conv.singular = "ignore", check.scaleX = "ignore", check.nobs.vs.nlev = "ignore",
    check.nobs.vs.nRE = "ignore"
  )
}

# A step is taken only where it stays inside and does not climb; a theta at its bound stays there.
polished <- function(devfun, theta, lower) {
  free <- theta > lower + 1e-5
  at <- function(v) devfun(replace(theta, free, v))
  for (i in 1:5) {
    v <- theta[free]
    if (!length(v)) break
    step <- solve(hessian(at, v), grad(at, v))
    if (any(v - step < lower[free]) || at(v - step) > at(v) + 1e-9) break
    theta[free] <- v - step
  }
  theta[!free & is.finite(lower)] <- 0
  theta
}

# `units`: what each random slope's column is divided by, so that its thetas are of one size. `quick`: one start and no
# Newton steps, which leaves estimates good to about 1e-5.
by_lme4 <- function(formula, data, reml, coef, groups = NULL, units = NULL, starts = c(0.05, 0.2, 0.5), quick = FALSE) {
  if (quick) starts <- 0.1
  for (column in names(units)) data[[column]] <- data[[column]] / units[[column]]
  fits <- lapply(starts, function(rhobeg) {
    lmer(formula, data, REML = reml, control = tight(rhobeg, if (quick) 1e-6 else 1e-10))
  })
  reached <- sapply(fits, function(f) getME(f, "devcomp")$cmp[[if (reml) "REML" else "dev"]])
  fit <- fits[[which.min(reached)]]
  devfun <- lmer(formula, data, REML = reml, devFunOnly = TRUE, control = tight(0.2))
  theta <- getME(fit, "theta")
  if (!quick) theta <- polished(devfun, theta, getME(fit, "lower"))
  criterion <- devfun(theta)  # last, so that what follows is at this theta
  predictor <- environment(devfun)$pp
  n <- nobs(fit)
  p <- length(fixef(fit))
  s2 <- (environment(devfun)$resp$wrss() + predictor$sqrL(1)) / (if (reml) n - p else n)
  of_column <- function(name) if (name %in% names(units)) units[[name]] else 1
  # Columns of X that units divided; of products too.
  per <- sapply(names(fixef(fit)), function(name) prod(sapply(strsplit(name, ":")[[1]], of_column)))
  renamed <- setNames(coef, names(fixef(fit)))
  values <- list()
  values[sprintf("beta[%s]", coef)] <- as.list(unname(predictor$beta(1) / per))
  values[sprintf("se[%s]", coef)] <- as.list(unname(sqrt(s2 * diag(chol2inv(predictor$RX()))) / per))
  terms <- getME(fit, "cnms")
  at <- 0
  for (j in seq_along(terms)) {
    effects <- terms[[j]]
    q <- length(effects)
    group <- names(terms)[j]
    group <- sub("\\.[0-9]+$", "", group)
    if (group %in% names(groups)) group <- groups[[group]]
    L <- matrix(0, q, q)
    m <- q * (q + 1) / 2
    L[lower.tri(L, TRUE)] <- theta[at + seq_len(m)]
    at <- at + m
    cov <- s2 * L %*% t(L)
    sd <- sqrt(diag(cov))
    ours <- unname(renamed[effects])
    values[sprintf("sd_%s[%s]", group, ours)] <- as.list(unname(sd / sapply(effects, of_column)))
    for (a in seq_len(q - 1)) for (b in seq(a + 1, q)) {
      if (q > 1 && min(sd) > 0) values[[sprintf("corr_%s[%s, %s]", group, ours[a], ours[b])]] <- cov[a, b] / sd[a] / sd[b]
    }
  }
  values$sigma <- sqrt(s2)
  # The REML criterion refers to the columns of X: 2 log|det| of the change.
  values$criterion <- criterion + if (reml) 2 * sum(log(per)) else 0
  values$loglik <- -values$criterion / 2
  k <- p + length(theta) + 1
  values$aic <- values$criterion + 2 * k
  values$bic <- values$criterion + k * log(n)
  free <- theta > 0 | !is.finite(getME(fit, "lower"))
  gradient <- if (quick) NULL else if (any(free)) grad(function(v) devfun(replace(theta, free, v)), theta[free]) else 0
  list(engine = if (reml) "reml" else "ml", program = "lme4", theta = theta, gradient = if (!quick) max(abs(gradient)), values = values)
}

both <- function(...) list(by_lme4(..., reml = TRUE), by_lme4(..., reml = FALSE))

# ---- metafor and lm ----

by_metafor <- function(data, method) {
  fit <- rma(
    yi = data$effect, sei = data$se, method = method,
    control = list(threshold = 1e-13, maxiter = 10000, REMLf = FALSE)
  )
  criterion <- -2 * as.numeric(logLik(fit))
  list(
    engine = tolower(method), program = "metafor",
    values = list(
      `beta[Intercept]` = as.numeric(fit$beta), `se[Intercept]` = fit$se, `sd_school[Intercept]` = sqrt(fit$tau2),
      criterion = criterion, loglik = -criterion / 2
    )
  )
}

by_lm <- function(formula, data, coef, reml) {
  fit <- lm(formula, data)
  n <- nobs(fit)
  p <- length(coef)
  sigma <- if (reml) summary(fit)$sigma else summary(fit)$sigma * sqrt((n - p) / n)
  values <- list()
  values[sprintf("beta[%s]", coef)] <- as.list(unname(coefficients(fit)))
  values[sprintf("se[%s]", coef)] <- as.list(unname(sqrt(diag(vcov(fit))) * sigma / summary(fit)$sigma))
  values$sigma <- sigma
  values$loglik <- as.numeric(logLik(fit, REML = reml))
  values$criterion <- -2 * values$loglik
  if (!reml) values[c("aic", "bic")] <- list(AIC(fit), BIC(fit))
  list(engine = if (reml) "reml" else "ml", program = "stats::lm", values = values)
}

# ---- the models ----

nels <- function() {
  folder <- Sys.getenv("HLM_DATA")
  if (folder == "") stop("set HLM_DATA to the folder of nels.csv")
  found <- read.csv(file.path(folder, "nels.csv"))
  found$school <- factor(found$school)
  found
}
urban <- function() {
  found <- droplevels(subset(nels(), urbanicity == "urban" & public == 1))
  found$hflp <- as.integer(found$flp == 3)
  found
}
hsb <- function() {
  found <- bundled("hsb", "school")
  found$cses <- found$ses - ave(found$ses, found$school)
  found$catholic <- as.integer(found$sector == "Catholic")
  found
}
insteval <- function() {
  found <- InstEval
  found$dept <- factor(found$dept, levels = sort(levels(found$dept), method = "radix"))
  found$service <- as.integer(found$service == "1")
  found
}

departments <- sort(levels(InstEval$dept), method = "radix")[-1]
slope <- c("Intercept", "days")

models <- list(
  dyestuff = function() both(yield ~ 1 + (1 | batch), bundled("dyestuff", "batch"), coef = "Intercept"),
  dyestuff2 = function() both(yield ~ 1 + (1 | batch), bundled("dyestuff2", "batch"), coef = "Intercept"),
  `eight-schools` = function() lapply(c("REML", "ML"), function(method) by_metafor(bundled("eight_schools"), method)),
  `grunfeld-intercept` = function() {
    both(
      investment ~ market_value + capital + (1 | firm), bundled("grunfeld", "firm"),
      coef = c("Intercept", "market_value", "capital")
    )
  },
  `grunfeld-slopes` = function() {
    both(
      investment ~ market_value + capital + (market_value + capital | firm), bundled("grunfeld", "firm"),
      coef = c("Intercept", "market_value", "capital"), units = list(market_value = 1000, capital = 1000),
      starts = c(0.02, 0.05, 0.1, 0.2, 0.3, 0.5)
    )
  },
  `hsb-oneway` = function() both(mathach ~ 1 + (1 | school), hsb(), coef = "Intercept"),
  `hsb-means-as-outcomes` = function() {
    both(mathach ~ meanses + (1 | school), hsb(), coef = c("Intercept", "meanses"))
  },
  `hsb-random-coefficients` = function() {
    both(mathach ~ cses + (cses | school), hsb(), coef = c("Intercept", "cses"))
  },
  `hsb-slopes-as-outcomes` = function() {
    both(
      mathach ~ meanses + catholic + cses + meanses:cses + catholic:cses + (cses | school), hsb(),
      coef = c("Intercept", "meanses", "catholic", "cses", "meanses:cses", "catholic:cses")
    )
  },
  insteval = function() {
    both(
      y ~ 1 + service + (1 | s) + (1 | d) + (1 | dept), insteval(), coef = c("Intercept", "service"), quick = TRUE
    )
  },
  `insteval-dept` = function() {
    both(
      y ~ 1 + service * dept + (1 | s) + (1 | d), insteval(),
      coef = c(
        "Intercept", "service", sprintf("dept[%s]", departments), sprintf("service:dept[%s]", departments)
      ), quick = TRUE
    )
  },
  `nels-intercept` = function() both(mscore ~ 1 + (1 | school), nels(), coef = "Intercept"),
  `nels-slopes` = function() both(mscore ~ ses + (ses | school), nels(), coef = c("Intercept", "ses")),
  `nels-macro` = function() {
    both(mscore ~ flp * ses + (ses | school), nels(), coef = c("Intercept", "flp", "ses", "flp:ses"))
  },
  `nels-urban-slopes` = function() {
    both(mscore ~ hwh + ses + (hwh + ses | school), urban(), coef = c("Intercept", "hwh", "ses"))
  },
  `nels-urban-macro` = function() {
    both(mscore ~ hwh + ses + hflp + (hwh + ses | school), urban(), coef = c("Intercept", "hwh", "ses", "hflp"))
  },
  oats = function() {
    both(
      yield ~ nitro + (1 | block / variety), bundled("oats", "block", "variety"), coef = c("Intercept", "nitro"),
      groups = list(`variety:block` = "block:variety")
    )
  },
  `orthodont-growth` = function() {
    both(distance ~ age + (age | subject), bundled("orthodont", "subject"), coef = c("Intercept", "age"))
  },
  oxide = function() {
    both(
      thickness ~ 1 + (1 | lot / wafer), bundled("oxide", "lot", "wafer"), coef = "Intercept",
      groups = list(`wafer:lot` = "lot:wafer")
    )
  },
  pastes = function() {
    both(
      strength ~ 1 + (1 | batch / cask), bundled("pastes", "batch", "cask"), coef = "Intercept",
      groups = list(`cask:batch` = "batch:cask")
    )
  },
  penicillin = function() {
    both(diameter ~ 1 + (1 | plate) + (1 | sample), bundled("penicillin", "plate", "sample"), coef = "Intercept")
  },
  pixel = function() {
    both(
      pixel ~ day + I(day^2) + (day | dog) + (1 | dog:side), bundled("pixel", "dog", "side"),
      coef = c("Intercept", "day", "I(day ** 2)")
    )
  },
  `radon-intercept` = function() {
    both(log_radon ~ floor + (1 | county), bundled("radon", "county"), coef = c("Intercept", "floor"))
  },
  `radon-pooled` = function() {
    lapply(c(TRUE, FALSE), function(reml) by_lm(log_radon ~ floor, bundled("radon"), c("Intercept", "floor"), reml))
  },
  `radon-slopes` = function() {
    both(log_radon ~ floor + (floor | county), bundled("radon", "county"), coef = c("Intercept", "floor"))
  },
  `radon-uranium` = function() {
    both(
      log_radon ~ floor + log_uranium + (floor | county), bundled("radon", "county"),
      coef = c("Intercept", "floor", "log_uranium")
    )
  },
  rail = function() both(travel ~ 1 + (1 | rail), bundled("rail", "rail"), coef = "Intercept"),
  `sleepstudy-intercept` = function() both(reaction ~ days + (1 | subject), bundled("sleepstudy", "subject"), coef = slope),
  `sleepstudy-slopes` = function() both(reaction ~ days + (days | subject), bundled("sleepstudy", "subject"), coef = slope),
  `sleepstudy-uncorrelated` = function() {
    both(reaction ~ days + (1 | subject) + (0 + days | subject), bundled("sleepstudy", "subject"), coef = slope)
  }
)
# The same models under other priors: to REML and ML a prior is nothing.
same <- c(`nels-bayes-slopes` = "nels-urban-slopes", `nels-bayes-macro` = "nels-urban-macro")


path <- "tests/golden/zoo.json"
asked <- commandArgs(trailingOnly = TRUE)
fits <- if (length(asked) && file.exists(path)) read_json(path)$models else list()
for (name in if (length(asked)) asked else names(models)) {
  started <- proc.time()[["elapsed"]]
  fits[[name]] <- models[[name]]()
  message(sprintf("%s: %.1f s", name, proc.time()[["elapsed"]] - started))
}
for (name in names(same)) fits[[name]] <- fits[[same[[name]]]]

packages <- c("lme4", "metafor", "numDeriv")
out <- list(
  made_by = "tests/golden/zoo.R",
  versions = c(
    list(R = paste(R.version$major, R.version$minor, sep = ".")),
    setNames(lapply(packages, function(name) as.character(packageVersion(name))), packages)
  ),
  models = fits[order(names(fits))]
)
write_json(out, path, auto_unbox = TRUE, digits = NA, pretty = TRUE)
