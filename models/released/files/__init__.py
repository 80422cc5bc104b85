"""What released files hold, and how it is read."""
