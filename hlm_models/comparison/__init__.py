"""Comparisons of finished fits."""
