"""What some methods need to have learned about a model beforehand: files, and their makers."""
