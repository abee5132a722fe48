"""Entry of `python -m dlmlab`."""

import sys

from dlmlab.cli import main

sys.exit(main())
