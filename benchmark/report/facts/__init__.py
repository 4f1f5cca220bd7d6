"""What is shown of results, as plain values: the same for page, pictures and terminal."""
