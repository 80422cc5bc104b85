"""ConVIRT: its settings, and its network."""
