"""Dagster assets, thin: each calls one function of the folders to its left and reports metadata."""
