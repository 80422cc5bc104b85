"""The `results` table: rows, files and summaries."""
