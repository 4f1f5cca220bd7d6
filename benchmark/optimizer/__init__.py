"""Search and benchmark matrix joined."""
