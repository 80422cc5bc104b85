"""Trained and imported networks as folders that other projects load with their own tools."""
