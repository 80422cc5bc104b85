"""The tables of the papers, with measured and published numbers."""
