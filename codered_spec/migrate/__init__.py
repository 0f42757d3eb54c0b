"""Moving databases to the spec, and proving that they are there."""
