"""Layout, headings, sections and sentences of a report."""
