"""The zoo against its references: estimates held against published numbers, and the badges."""
