"""One file per downstream task, metrics with confidence intervals, the results table."""
