"""MGCA: images and reports are aligned at three levels (Wang et al., NeurIPS 2022, arXiv 2210.06044)."""
