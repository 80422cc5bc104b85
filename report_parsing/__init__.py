"""Words: sections, sentences, entities, assertion, triplets and knowledge look-up."""
