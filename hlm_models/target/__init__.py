"""The log posterior of the variance parameters as a plain function; its sampler and its draws."""
