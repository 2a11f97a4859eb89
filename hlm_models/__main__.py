"""`python -m hlm_models` is `hlm`."""

import sys

from hlm_models.cli import main

sys.exit(main())
