"""The tables of the papers, measured beside published."""
