"""Networks: encoders, losses and one file per pretraining method."""
