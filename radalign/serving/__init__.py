"""`radalign serve`: a page on this machine that scores findings in a radiograph, and the same for programs."""
