"""Gibbs sampling over Gram blocks: conjugate updates, each tested against the joint density."""
