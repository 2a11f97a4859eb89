"""The resolved, engine-neutral model, and the plain density that everything is tested against."""
