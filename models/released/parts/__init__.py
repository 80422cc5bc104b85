"""What several released networks are made of."""
