"""The Parquet shard format: schema, writer, reader."""
