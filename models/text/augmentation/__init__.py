"""Random changes of tokenised texts in training."""
