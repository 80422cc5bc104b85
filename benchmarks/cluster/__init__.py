"""Several machines on one: simulated hosts, and what is measured on them."""
