"""Descriptions of observations, and the look-up from a written term to an observation."""
