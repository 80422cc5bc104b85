"""Where the steps of a run go, and what happens around them."""
