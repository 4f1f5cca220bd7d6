"""What was read, and what rows add to it."""
