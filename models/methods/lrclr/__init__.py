"""LRCLR: regions that attention heads select are contrasted with the report, beside the loss of CLIP."""
