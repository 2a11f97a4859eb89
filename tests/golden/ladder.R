# Regressions by R's lm, for tests/compare/test_ladder.py.
#
#   Rscript tests/golden/ladder.R        (from the repository root; writes tests/golden/ladder.json)

library(jsonlite)

folder <- "hlm_models/parts/datasets"
grunfeld <- read.csv(file.path(folder, "grunfeld.csv"))
grunfeld$firm <- factor(grunfeld$firm, levels = unique(grunfeld$firm))
hsb <- read.csv(file.path(folder, "hsb.csv"))
hsb$school <- factor(hsb$school)

# Firms of 1, 2 and 3 years, and one whose capital never changes.
uneven <- do.call(rbind, lapply(seq_along(levels(grunfeld$firm)), function(k) {
  rows <- grunfeld[grunfeld$firm == levels(grunfeld$firm)[k], ]
  if (k <= 3) rows <- rows[seq_len(k), ]
  if (k == 4) rows$capital <- 100
  rows
}))

of <- function(fit) {
  s <- summary(fit)
  table <- coef(s)
  list(
    names = rownames(table), estimate = unname(table[, 1]), se = unname(table[, 2]), sigma = s$sigma,
    rss = deviance(fit), df = df.residual(fit), r2 = s$r.squared, adj_r2 = s$adj.r.squared
  )
}

f_test <- function(smaller, larger) {
  table <- anova(smaller, larger)
  list(F = table$F[2], df1 = table$Df[2], df2 = table$Res.Df[2], p = table$`Pr(>F)`[2])
}

# `within` holds each group's own lm: coefficients (NA where aliased), their standard errors, df, rss.
ladder <- function(data, y, x, group, weights = NULL, offset = NULL) {
  data$.g <- data[[group]]
  data$.w <- if (is.null(weights)) 1 else weights
  data$.o <- if (is.null(offset)) 0 else offset
  data$.y <- data[[y]] - data$.o
  # Of y less its offset: with offset() the fit is the same, but R 4.2 counts the offset in R2 too.
  fit <- function(right, rows = data) {
    found <- lm(as.formula(paste(".y ~", right)), data = rows, weights = .w)
    by_offset <- lm(as.formula(paste(y, "~", right, "+ offset(.o)")), data = rows, weights = .w)
    stopifnot(all.equal(coef(found), coef(by_offset)))
    found
  }
  slopes <- paste(x, collapse = " + ")
  means <- do.call(rbind, lapply(split(data, data$.g), function(rows) {
    as.data.frame(lapply(rows[c(".y", x)], weighted.mean, w = rows$.w))
  }))
  pooled <- fit(slopes)
  intercepts <- fit(paste(".g - 1 +", slopes))
  separate <- fit(paste0(".g/(", slopes, ") - 1"))
  within <- lapply(split(data, data$.g), function(rows) {
    one <- fit(slopes, rows)
    se <- coef(one) * NA
    se[names(which(!is.na(coef(one))))] <- if (df.residual(one)) coef(summary(one))[, 2] else NA
    list(estimate = unname(coef(one)), se = unname(se), df = df.residual(one), rss = deviance(one))
  })
  list(
    between = of(lm(reformulate(x, ".y"), data = means)),
    pooled = of(pooled),
    intercepts_without_constant = of(intercepts),
    intercepts_with_constant = of(fit(paste(slopes, "+ .g"))),
    slopes = of(separate),
    tests = list(
      pooled_intercepts = f_test(pooled, intercepts),
      intercepts_slopes = f_test(intercepts, separate),
      pooled_slopes = f_test(pooled, separate)
    ),
    groups = levels(data$.g),
    within = within
  )
}

firm <- c("market_value", "capital")
without_constant <- lm(investment ~ market_value + capital - 1, data = grunfeld)

out <- list(
  made_by = "tests/golden/ladder.R",
  software = list(
    R = paste(R.version$major, R.version$minor, sep = "."),
    jsonlite = as.character(packageVersion("jsonlite"))
  ),
  notes = list(
    uneven = "the first three firms keep 1, 2 and 3 rows; the fourth has capital 100 throughout",
    weighted = "weights 1 + year mod 4, offset capital / 10"
  ),
  grunfeld = ladder(grunfeld, "investment", firm, "firm"),
  weighted = ladder(grunfeld, "investment", firm, "firm",
    weights = 1 + grunfeld$year %% 4, offset = grunfeld$capital / 10
  ),
  uneven = ladder(uneven, "investment", firm, "firm"),
  hsb = ladder(hsb, "mathach", c("ses", "meanses"), "school"),
  without_constant = of(without_constant)
)
out$hsb$within <- NULL
write_json(out, "tests/golden/ladder.json", auto_unbox = TRUE, digits = NA, pretty = TRUE, na = "null")
