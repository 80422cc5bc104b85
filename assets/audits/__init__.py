"""Assets that look after a network beyond its scores."""
