"""What every room shares: atomic files, digests, the code that a result depends on, incremental batches."""
