"""Expected log predictive density of new rows and new groups: LOO, WAIC, K-fold, refits."""
