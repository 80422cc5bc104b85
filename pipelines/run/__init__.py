"""`python -m pipelines.run JOB`: a job of Dagster with one line per stage, and one sentence where it cannot go on.

The command `radalign` starts it. The run is the one that `dagster job execute` makes, in the same history.
"""
