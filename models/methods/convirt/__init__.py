"""ConVIRT: an image and a sentence of its report are contrasted (Zhang et al., arXiv 2010.00747)."""
