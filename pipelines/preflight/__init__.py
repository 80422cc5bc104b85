"""What is checked before a run does any work: names, settings, archives, encoders, disk and memory.

Every executor calls `check_run` first, so `dagster job execute`, the UI and `radalign` refuse the same mistakes.
"""
