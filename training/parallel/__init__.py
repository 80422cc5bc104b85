"""Several processes: process groups, DDP and FSDP."""
