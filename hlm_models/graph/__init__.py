"""ModelSpec to PyMC models; the only room that imports PyMC at top level."""
