"""Formula to X, Z blocks and Gram blocks."""
