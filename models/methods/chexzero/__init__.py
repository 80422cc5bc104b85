"""CheXzero: CLIP, continued on images and the impressions of their reports (Tiu et al., Nat. Biomed. Eng. 2022)."""
