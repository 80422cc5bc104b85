"""MedKLIP: descriptions of entities are queries to the image (Wu et al., ICCV 2023, arXiv 2301.02228)."""
