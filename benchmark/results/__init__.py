"""What lies on disk: records of samples, cells of a matrix, their keys and metrics."""
