"""GLoRIA: words are matched with regions of the image (Huang et al., ICCV 2021)."""
