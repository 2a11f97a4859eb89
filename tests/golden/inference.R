# Tests of coefficients by lmerTest, pbkrtest and emmeans, for tests/inference/test_golden.py.
#
#   Rscript tests/golden/inference.R     (from the repository root; writes tests/golden/inference.json)
#
# Data are read from the bundled datasets; lme4's cake, which is not bundled, is written out too.

suppressMessages({
  library(lmerTest)
  library(pbkrtest)
  library(emmeans)
  library(jsonlite)
})

folder <- "hlm_models/parts/datasets"
bundled <- function(name, ...) {
  found <- read.csv(file.path(folder, paste0(name, ".csv")))
  for (column in c(...)) found[[column]] <- factor(found[[column]])
  found
}

tight <- lmerControl(
  optimizer = "nloptwrap",
  optCtrl = list(xtol_rel = 0, xtol_abs = 1e-13, ftol_rel = 0, ftol_abs = 1e-13, maxeval = 1e6),
  check.conv.singular = "ignore"
)

number <- function(x) unname(as.numeric(x))
rows <- function(x) unname(as.matrix(x))

t_table <- function(table) {
  list(
    estimate = number(table[, "Estimate"]), se = number(table[, "Std. Error"]),
    df = number(table[, "df"]), t = number(table[, "t value"]), p = number(table[, "Pr(>|t|)"])
  )
}

f_table <- function(table) {
  list(
    term = rownames(table), num_df = number(table$NumDF), den_df = number(table$DenDF),
    F = number(table[["F value"]]), p = number(table[["Pr(>F)"]])
  )
}

# What one fit says by one method. `contrasts` is a list of lists with L (r, p) and rhs (r).
by_method <- function(fit, ddf, contrasts) {
  list(
    coefficients = t_table(coef(summary(fit, ddf = ddf))),
    anova = if (length(fixef(fit)) > 1) f_table(anova(fit, type = "III", ddf = ddf)),
    contrasts = lapply(contrasts, function(one) {
      each <- lapply(seq_len(nrow(one$L)), function(i) {
        t_table(as.data.frame(contest1D(fit, one$L[i, ], rhs = one$rhs[i], ddf = ddf)))
      })
      list(
        L = rows(one$L), rhs = one$rhs,
        rows = do.call(Map, c(c, each)),
        joint = f_table(contestMD(fit, one$L, rhs = one$rhs, ddf = ddf))[-1]
      )
    })
  )
}

# Marginal means over `specs`, and all pairs of them within `by`.
means <- function(fit, ddf, specs, by = NULL, at = list()) {
  mode <- c("Satterthwaite" = "satterthwaite", "Kenward-Roger" = "kenward-roger")[[ddf]]
  grid <- emmeans(fit, specs, by = by, at = at, lmer.df = mode, cov.keep = character(0))
  table <- as.data.frame(grid)
  list(
    specs = I(specs), by = I(as.character(by)), at = at,
    cells = lapply(table[c(specs, by)], as.character),
    mean = table$emmean, se = table$SE, df = table$df, lower = table$lower.CL,
    upper = table$upper.CL,
    differences = lapply(
      list(tukey = "tukey", holm = "holm", bonferroni = "bonferroni", none = "none"),
      function(adjust) {
        found <- as.data.frame(summary(pairs(grid), infer = TRUE, adjust = adjust))
        list(
          estimate = found$estimate, se = found$SE, df = found$df, t = found$t.ratio,
          p = found$p.value, lower = found$lower.CL, upper = found$upper.CL
        )
      }
    )
  )
}

case <- function(fit, contrasts = list(), means_of = list(), kenward = TRUE) {
  methods <- c("Satterthwaite", if (kenward) "Kenward-Roger")
  names(methods) <- tolower(methods)
  list(
    criterion = -2 * as.numeric(logLik(fit)),
    names = names(fixef(fit)),
    vcov_adjusted = if (kenward) rows(as.matrix(vcovAdj(fit))),
    methods = lapply(methods, function(ddf) by_method(fit, ddf, contrasts)),
    means = lapply(means_of, function(one) {
      lapply(methods, function(ddf) do.call(means, c(list(fit, ddf), one)))
    })
  )
}

sleepstudy <- bundled("sleepstudy", "subject")
grunfeld <- bundled("grunfeld", "firm")
penicillin <- bundled("penicillin", "plate", "sample")
pastes <- bundled("pastes", "batch", "cask")
orthodont <- bundled("orthodont", "subject", "sex")
dyestuff2 <- bundled("dyestuff2", "batch")
hsb <- bundled("hsb", "school", "sex", "sector")
schools <- droplevels(hsb[hsb$school %in% unique(hsb$school)[1:20], ])
cake <- as.data.frame(lme4::cake)
cake$temperature <- factor(as.character(cake$temperature))
cake$holes <- as.integer(seq_len(nrow(cake)) %% 7 == 3 | seq_len(nrow(cake)) %% 11 == 5)
uneven <- cake[cake$holes == 0, ]
scaled <- transform(grunfeld,
  investment = investment / 100, market_value = market_value / 1000, capital = capital / 1000
)

days <- list(
  list(L = diag(2), rhs = c(250, 10)), list(L = rbind(c(1, 5)), rhs = 300),
  list(L = rbind(c(1, 0), c(1, 9)), rhs = c(0, 0))
)
both <- list(
  list(L = cbind(0, diag(2)), rhs = c(0, 0)), list(L = rbind(c(0, 1, -1)), rhs = 0),
  list(L = rbind(c(0, 1, 0), c(0, 0, 1), c(0, 1, 1)), rhs = c(0, 0, 0))
)
cake_means <- list(
  list(specs = "recipe"), list(specs = "temperature"), list(specs = "recipe", by = "temperature")
)
growth_means <- list(
  list(specs = "sex"), list(specs = "sex", at = list(age = 14)),
  list(specs = "age", by = "sex", at = list(age = c(8, 10, 14)))
)

cases <- list(
  "sleepstudy slopes" = case(
    lmer(reaction ~ days + (days | subject), sleepstudy, control = tight), days
  ),
  "sleepstudy slopes, ml" = case(
    lmer(reaction ~ days + (days | subject), sleepstudy, control = tight, REML = FALSE), days,
    kenward = FALSE
  ),
  "sleepstudy independent" = case(
    lmer(reaction ~ days + (days || subject), sleepstudy, control = tight), days
  ),
  "grunfeld intercept" = case(
    lmer(investment ~ market_value + capital + (1 | firm), grunfeld, control = tight), both
  ),
  "grunfeld slope" = case(
    lmer(investment ~ market_value + capital + (capital | firm), scaled, control = tight), both
  ),
  "penicillin" = case(
    lmer(diameter ~ 1 + (1 | plate) + (1 | sample), penicillin, control = tight),
    list(list(L = diag(1), rhs = 22))
  ),
  "pastes" = case(
    lmer(strength ~ 1 + (1 | batch / cask), pastes, control = tight),
    list(list(L = diag(1), rhs = 60))
  ),
  "dyestuff2, singular" = case(lmer(yield ~ 1 + (1 | batch), dyestuff2, control = tight)),
  "orthodont" = case(
    lmer(distance ~ sex * age + (age | subject), orthodont, control = tight),
    list(list(L = rbind(c(0, 1, 0, 0), c(0, 0, 0, 1)), rhs = c(0, 0))), growth_means
  ),
  "cake" = case(
    lmer(angle ~ recipe * temperature + (1 | replicate) + (1 | recipe:replicate), cake,
      control = tight
    ),
    means_of = cake_means
  ),
  "cake, one factor" = case(
    lmer(angle ~ recipe + (1 | replicate) + (1 | recipe:replicate), uneven, control = tight)
  ),
  "cake, uneven" = case(
    lmer(angle ~ recipe * temperature + (1 | replicate) + (1 | recipe:replicate), uneven,
      control = tight
    ),
    means_of = cake_means[1]
  ),
  "cake, uneven, sums" = case(
    lmer(angle ~ recipe * temperature + (1 | replicate) + (1 | recipe:replicate), uneven,
      control = tight, contrasts = list(recipe = "contr.sum", temperature = "contr.sum")
    )
  ),
  "hsb" = case(
    lmer(mathach ~ sex * sector + sector * ses + (ses | school), schools, control = tight)
  )
)

json <- list(
  made_with = lapply(
    c(
      R = "base", lme4 = "lme4", lmerTest = "lmerTest", pbkrtest = "pbkrtest", emmeans = "emmeans"
    ), function(name) as.character(packageVersion(name))
  ),
  cake = lapply(cake, function(x) if (is.factor(x)) as.character(x) else x),
  cases = cases
)
write_json(json, "tests/golden/inference.json", digits = NA, auto_unbox = TRUE, null = "null")
