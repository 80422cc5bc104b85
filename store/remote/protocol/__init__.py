"""What a home keeps in its store, object by object: contents, manifests, entries of batches and leases."""
