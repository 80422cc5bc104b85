"""What is shown of the tables of a dataset: counts, examples and a sheet of images."""
