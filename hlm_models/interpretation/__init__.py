"""What a fitted model says: pooling, shares of the variance, effects of predictors."""
