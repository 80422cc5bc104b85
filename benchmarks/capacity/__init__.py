"""What an archive of any size takes, by constants that are measured on small ones."""
