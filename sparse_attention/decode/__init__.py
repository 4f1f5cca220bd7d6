"""A batch of rows that decodes over shared contexts, step by step."""
