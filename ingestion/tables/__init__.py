"""Tables over all batches of a dataset: subsets, knowledge, and annotated regions."""
