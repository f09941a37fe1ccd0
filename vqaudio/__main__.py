"""`python -m vqaudio`: the console script, for environments whose scripts are not on the PATH."""

import sys

from vqaudio.cli import main

sys.exit(main())
