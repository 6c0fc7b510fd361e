"""`python -m parvideo.cli`: the command, without its script."""

import sys

from parvideo.cli import main

if __name__ == "__main__":
    sys.exit(main())
