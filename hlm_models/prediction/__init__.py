"""Predictions of existing and of new groups, by posteriors and point fits alike."""
