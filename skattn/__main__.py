"""Run the command line: ``python -m skattn``."""

import sys

from skattn.cli import main

sys.exit(main())
