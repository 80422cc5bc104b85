"""Evaluation of pretrained networks: tasks, metrics with confidence intervals, results, tables and figures."""
