"""From a source of rows to a validated table with roles."""
