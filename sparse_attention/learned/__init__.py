"""Files with what methods have learned about a model, and their checks."""
