"""New studies by night: what a finished network scores them, and whether they drift from what it was trained on."""
