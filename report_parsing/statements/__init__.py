"""What sentences say: assertions, triplets and relations."""
