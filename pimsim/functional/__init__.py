"""Values: what the arrays compute, and the integer reference that they are checked against."""
