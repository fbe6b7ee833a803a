"""`python -m memagent_training`, which is what `accelerate launch -m` starts."""

import sys

from memagent_training.cli import main

sys.exit(main())
