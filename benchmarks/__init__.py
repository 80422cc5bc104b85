"""Speed and ceilings, as ratios measured in one run."""
