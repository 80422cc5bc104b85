"""Dagster and MLflow in the browser of this machine. Neither has a login, so each stands behind a `Guard`."""
