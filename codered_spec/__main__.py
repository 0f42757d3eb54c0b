"""``python -m codered_spec``."""

import sys

from codered_spec.cli import main

sys.exit(main())
