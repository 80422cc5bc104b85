"""`python -m radalign`: the same as the command `radalign`."""

from __future__ import annotations

import sys

from radalign.command import main

if __name__ == "__main__":
    sys.exit(main())
