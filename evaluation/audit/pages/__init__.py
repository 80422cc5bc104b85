"""What an audit shows: a page with every number, and a model card."""
