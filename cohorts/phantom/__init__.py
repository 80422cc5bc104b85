"""Simulated archives: chest radiographs with findings at known positions, and reports about them.

A simulation shows that a method learns what it is designed to learn; it says nothing about patients.
"""

PHANTOM = "phantom"  # name of the dataset
