# What lme4, lm and emmeans say of within, between and averaged effects, for
# tests/interpretation.
#
#   Rscript tests/golden/mundlak.R     (from the repository root; writes tests/golden/mundlak.json)

suppressMessages({library(jsonlite); library(lme4); library(emmeans)})

folder <- "hlm_models/parts/datasets"
read <- function(name) {
  path <- file.path(folder, paste0(name, ".csv"))
  if (!file.exists(path)) path <- file.path(folder, paste0(name, ".csv.gz"))
  read.csv(path)
}
hsb <- read("hsb")
hsb$school <- factor(hsb$school)
hsb$w <- 1 + seq_len(nrow(hsb)) %% 3
tight <- lmerControl(optCtrl = list(xtol_abs = 1e-12, ftol_abs = 1e-12, maxeval = 1e5))

weighted_mean <- function(x, w, g) ave(x * w, g, FUN = sum) / ave(w, g, FUN = sum)
contexts <- lapply(c(equal = FALSE, weighted = TRUE), function(weighted) {
  d <- hsb
  if (!weighted) d$w <- 1
  d$between <- weighted_mean(d$ses, d$w, d$school)
  d$within <- d$ses - d$between
  fit <- lmer(mathach ~ within + between + (1 | school), d, weights = w, control = tight)
  V <- as.matrix(vcov(fit))
  L <- rbind(within = c(0, 1, 0), between = c(0, 0, 1), contextual = c(0, -1, 1))
  list(
    estimate = as.list(drop(L %*% fixef(fit))), se = as.list(sqrt(diag(L %*% V %*% t(L)))),
    dummies = unname(coef(lm(mathach ~ ses + school, d, weights = w))["ses"]),
    # Mundlak's form has the same contextual effect where intercepts alone vary.
    mundlak = unname(fixef(lmer(mathach ~ ses + between + (1 | school), d, weights = w,
                                control = tight))["between"])
  )
})

orthodont <- read("orthodont")
growth <- lmer(distance ~ sex * age + (age | subject), orthodont, control = tight)
slopes <- as.data.frame(emtrends(growth, ~ sex, var = "age", lmer.df = "satterthwaite"))
curve <- lmer(distance ~ sex * poly(age, 2) + (1 | subject), orthodont, control = tight)
at <- list(age = c(8, 9.5, 14))
means <- as.data.frame(emmeans(curve, ~ age | sex, at = at, lmer.df = "satterthwaite"))
differences <- as.data.frame(pairs(emmeans(growth, ~ sex, at = list(age = 14),
                                           lmer.df = "satterthwaite")))
# Averaged over the rows, and not over a grid: counterfactual rows, by hand.
averaged <- sapply(c("Female", "Male"), function(one) {
  d <- transform(orthodont, sex = one)
  X <- model.matrix(~ sex * age, transform(d, sex = factor(sex, c("Female", "Male"))))
  L <- colMeans(X)
  c(mean = sum(L * fixef(growth)), se = sqrt(drop(L %*% as.matrix(vcov(growth)) %*% L)))
})

# Reliabilities and proportions of variance: the formulas written out.
sleep <- read("sleepstudy")
sleep$subject <- factor(sleep$subject)
fit <- lmer(reaction ~ days + (days | subject), sleep, control = tight)
Psi <- matrix(VarCorr(fit)$subject, 2)
blocks <- lapply(split(sleep, sleep$subject), function(d) crossprod(cbind(1, d$days)))
reliability <- rowMeans(sapply(blocks, function(G) diag(Psi) / (diag(Psi) + sigma(fit)^2 * diag(solve(G)))))
weights <- lapply(blocks, function(G) solve(G + sigma(fit)^2 * solve(Psi), G))

one <- lmer(mathach ~ 1 + (1 | school), hsb, control = tight)
means_fit <- lmer(mathach ~ meanses + (1 | school), hsb, control = tight)
parts <- function(fit) c(tau = as.numeric(VarCorr(fit)$school), sigma2 = sigma(fit)^2)
a <- parts(one)
b <- parts(means_fit)
n <- 1 / mean(1 / table(hsb$school))
explained <- list(
  tau = 1 - b[["tau"]] / a[["tau"]], sigma2 = 1 - b[["sigma2"]] / a[["sigma2"]],
  level1 = 1 - sum(b) / sum(a),
  level2 = 1 - (b[["tau"]] + b[["sigma2"]] / n) / (a[["tau"]] + a[["sigma2"]] / n)
)

write_json(
  list(
    from = list(R = R.version.string, lme4 = as.character(packageVersion("lme4")),
                emmeans = as.character(packageVersion("emmeans"))),
    # Where lme4 ended: our numbers are of the same theta.
    theta = list(growth = unname(getME(growth, "theta")), curve = I(unname(getME(curve, "theta")))),
    contexts = contexts,
    slopes = list(sex = as.character(slopes$sex), estimate = slopes$age.trend, se = slopes$SE,
                  df = slopes$df, lower = slopes$lower.CL, upper = slopes$upper.CL),
    curve = list(age = means$age, sex = as.character(means$sex), mean = means$emmean,
                 se = means$SE),
    difference = list(estimate = -differences$estimate, se = differences$SE),
    averaged = list(sex = colnames(averaged), mean = unname(averaged["mean", ]),
                    se = unname(averaged["se", ])),
    sleepstudy = list(reliability = reliability, weights = unname(weights[[1]])),
    explained = explained
  ),
  "tests/golden/mundlak.json", digits = 15, auto_unbox = TRUE, pretty = TRUE
)
