"""One file per dataset: each reads its published on-disk layout into the common tables."""
