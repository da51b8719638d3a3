"""``python -m kipuka`` is the ``kipuka`` command."""

import sys

from kipuka.cli import main

sys.exit(main())
