"""One file per pretraining method; importing it registers it."""
