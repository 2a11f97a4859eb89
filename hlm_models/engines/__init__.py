"""Ways of fitting. An engine is one file with `refusals(spec)` and `fit(spec, settings, rng)`."""
