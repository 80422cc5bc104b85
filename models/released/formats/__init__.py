"""One module per released network: how its file is known, what its names mean, and how it reads films and texts."""
