"""Tokens, abbreviations, spelling and the word lists."""
