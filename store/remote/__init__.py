"""A home on object storage: its files, kept together with a local mirror that all other code works on."""
