"""The plug-in shelf: priors, covariances, families, residual structures, datasets.

A part is one file in the folder of its sort. Nothing registers it: `parts.shelf` finds it there,
the YAML schema is generated from its settings, and the contract tests meet it on arrival.
"""
