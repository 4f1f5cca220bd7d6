"""Running benchmarks: plans, jobs, workers on Ray, one model on one device."""
