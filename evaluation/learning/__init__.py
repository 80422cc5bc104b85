"""What tasks share that train a network: the fitting loop, heads and decoders."""
