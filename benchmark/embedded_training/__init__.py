"""The programs that trained and measured the embedded model."""
