"""Losses over the words of texts: captioning and masked-language modelling."""
