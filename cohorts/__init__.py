"""One file per archive: each reads its published on-disk layout into the common tables."""
