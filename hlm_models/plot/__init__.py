"""Figures of fits and of what is computed from them, as matplotlib figures or ArviZ's plots."""
