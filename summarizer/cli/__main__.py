"""`python -m summarizer.cli`, the same as `longsplice`."""

import sys

from . import main

if __name__ == "__main__":
    sys.exit(main())
