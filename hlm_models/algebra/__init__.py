"""Numerical kernels on bare arrays. Nothing here knows a group by name, a config or a log."""
