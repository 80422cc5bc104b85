"""Where a training runs: a child of the step, or machines that Slurm, Ray or Kubernetes gives.

Each launcher is a file with `expect_ready`, which raises a `UserError` before anything starts, and `run`, which returns
when the training has ended. They are imported when they are chosen.
"""
