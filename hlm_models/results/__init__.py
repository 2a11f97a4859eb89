"""Fit containers, prediction, named checks, save and load."""
