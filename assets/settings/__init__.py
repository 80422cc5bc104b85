"""Settings in the launchpad: their fields, and what a preset gives where nobody gave a value."""
