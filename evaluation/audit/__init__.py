"""Audits a trained model: calibration, operating points, gaps between groups, shortcuts, and its model card."""
