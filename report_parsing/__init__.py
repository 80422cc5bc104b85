"""Parsing of reports: sections, sentences, observations, locations, assertions, triplets and knowledge look-up."""
