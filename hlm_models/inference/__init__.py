"""Tests, intervals and degrees of freedom of point fits."""
