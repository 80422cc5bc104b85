"""Methods that write the report of an image: the baselines of ConVIRT that see the pairs it sees."""
