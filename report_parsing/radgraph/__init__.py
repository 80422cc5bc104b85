"""RadGraph: entities and relations of reports, from the published files or from a trained model."""
