"""``python -m pcviz`` is the command ``pcviz``."""

import sys

from .cli import main

sys.exit(main())
