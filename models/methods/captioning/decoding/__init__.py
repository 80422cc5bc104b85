"""Decoders that write reports: a recurrent one, a transformer, and the search for the likeliest text."""
