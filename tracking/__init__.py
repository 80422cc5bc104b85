"""Training runs: their identity, their record in MLflow, and the registry of finished runs."""
