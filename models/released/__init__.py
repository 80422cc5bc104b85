"""Networks that others released: their files, read without running anything, and their code's outputs."""
