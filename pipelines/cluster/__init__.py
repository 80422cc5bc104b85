"""Runs whose batches are computed on other machines: by Ray or by Kubernetes.

The process of the run plans, collects and writes the tables. The steps that are batches go to workers, which an engine
(`ray`, `kubernetes`) starts on other machines, through Dagster's integrations. A worker begins with
`pipelines.cluster.worker`, which checks that it has the same code, packages, home and history as the run.
"""
