"""Every architecture of transformers, small and with random weights, tried with this library."""
