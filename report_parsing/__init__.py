"""Parsing of reports: sections, sentences, observations, anatomic locations, assertions, triplets, knowledge look-up."""
