"""From an archive to shards, in incremental batches, as plain Python."""
