"""Datasets: their readers, archives, labels, splits and simulated layouts."""
