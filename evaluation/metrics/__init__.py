"""Metrics, their bootstrap intervals, and statistical tests."""
