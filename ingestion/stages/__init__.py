"""The stages of ingestion that work in batches: what each computes, its settings, and the code that decides it."""
