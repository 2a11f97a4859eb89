# Write the bundled datasets from the R packages they come from.
#
#   Rscript export_datasets.R FOLDER
#   python insteval_parquet.py FOLDER     # insteval.csv -> insteval.parquet
#
# Made with R 4.2.2, lme4 1.1-31, nlme 3.1-162 and rstanarm 2.21.3. Rows keep the source's order.
#
# grunfeld.csv is not made here: it holds the values of statsmodels.datasets.grunfeld (0.15.0), with
# invest and value renamed investment and market_value and firm and year put first. nels is never
# written: it is not bundled.

folder <- commandArgs(trailingOnly = TRUE)
if (length(folder) != 1 || !dir.exists(folder)) stop("usage: Rscript export_datasets.R FOLDER")

# Fewest digits that read back as the same double. R's writers stop at 15, which loses logarithms.
shortest <- function(x) {
  if (!is.numeric(x)) return(as.character(x))
  text <- rep(NA_character_, length(x))
  for (digits in 1:17) {
    todo <- is.na(text)
    tried <- sprintf(paste0("%.", digits, "g"), x[todo])
    text[todo] <- ifelse(as.numeric(tried) == x[todo], tried, NA)
  }
  stopifnot(!anyNA(text))
  exponent <- grepl("e", text, fixed = TRUE)  # 1e+02 is written 100
  text[exponent] <- format(x[exponent], scientific = FALSE, trim = TRUE, drop0trailing = TRUE)
  stopifnot(as.numeric(text) == x)
  text
}

export <- function(name, ...) {
  columns <- lapply(list(...), shortest)
  stopifnot(lengths(columns) == length(columns[[1]]), !vapply(columns, anyNA, NA))
  lines <- c(paste(names(columns), collapse = ","), do.call(paste, c(unname(columns), sep = ",")))
  output <- file(file.path(folder, paste0(name, ".csv")), "wb")  # "\n" on every system
  on.exit(close(output))
  writeLines(lines, output)
}

number <- function(f) as.integer(as.character(f))  # the label of a level, never its position

# lme4 -------------------------------------------------------------------------------------------
with(lme4::sleepstudy, export("sleepstudy", reaction = Reaction, days = Days, subject = Subject))
with(lme4::Dyestuff, export("dyestuff", yield = Yield, batch = Batch))
with(lme4::Dyestuff2, export("dyestuff2", yield = Yield, batch = Batch))
with(lme4::Penicillin, export("penicillin", diameter = diameter, plate = plate, sample = sample))
with(lme4::Pastes, export("pastes", strength = strength, batch = batch, cask = cask))
with(lme4::InstEval, export("insteval",
  y = y, s = s, d = d, studage = number(studage), lectage = number(lectage),
  service = number(service), dept = dept
))

# nlme -------------------------------------------------------------------------------------------
with(as.data.frame(nlme::Rail), export("rail", rail = Rail, travel = travel))
with(as.data.frame(nlme::Orthodont), export("orthodont",
  distance = distance, age = age, subject = Subject, sex = Sex
))
with(as.data.frame(nlme::Oxide), export("oxide",
  source = Source, lot = Lot, wafer = Wafer, site = Site, thickness = Thickness
))
with(as.data.frame(nlme::Oats), export("oats",
  block = Block, variety = Variety, nitro = nitro, yield = yield
))
with(as.data.frame(nlme::Pixel), export("pixel", dog = Dog, side = Side, day = day, pixel = pixel))

# High School and Beyond: pupils joined with their schools; meanses is the school table's.
pupils <- as.data.frame(nlme::MathAchieve)
schools <- as.data.frame(nlme::MathAchSchool)
schools <- schools[match(as.character(pupils$School), as.character(schools$School)), ]
export("hsb",
  mathach = pupils$MathAch, ses = pupils$SES,
  minority = as.integer(pupils$Minority == "Yes"), sex = pupils$Sex, school = pupils$School,
  meanses = schools$MEANSES, sector = schools$Sector, size = schools$Size,
  pracad = schools$PRACAD, disclim = schools$DISCLIM, himinty = number(schools$HIMINTY)
)

# rstanarm ---------------------------------------------------------------------------------------
# rstanarm::radon holds log(activity + 0.1). Gelman and Hill take log(activity), with 0.1 in the
# place of 0. Activities are recorded to one decimal, so the shift is undone without loss. Note that
# exp(log_radon) has one decimal under both conventions; what tells them apart is the first house,
# 2.2 pCi/L in the survey and in HLMdiag::radon.
data("radon", package = "rstanarm", envir = environment())
shifted <- exp(radon$log_radon) - 0.1
activity <- round(shifted, 1)
stopifnot(abs(shifted - activity) < 1e-12, activity[1] == 2.2, sum(activity == 0) == 3)
export("radon",
  county = trimws(as.character(radon$county)), floor = radon$floor,
  log_radon = log(ifelse(activity == 0, 0.1, activity)), log_uranium = radon$log_uranium
)
