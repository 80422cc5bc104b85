"""What a text is written in: its characters, its spelling, and the language of a report."""
