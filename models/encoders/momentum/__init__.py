"""Momentum contrast (He et al., arXiv 1911.05722): a network that follows another, and the queue of what it gave."""
