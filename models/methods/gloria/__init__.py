"""GLoRIA: its settings, and its network."""
