"""What the scripts of this folder share: a mistake of the user is one line on stderr and exit code 2."""

import sys
from collections.abc import Callable
from pathlib import Path

from vqaudio.errors import JobError, UserError


def run(main: Callable[[], None]) -> None:
    """Run `main` and end the process with 0, 1 (failed job) or 2 (user's mistake)."""
    try:
        main()
    except (UserError, JobError) as error:
        print(f"{Path(sys.argv[0]).name}: {error}", file=sys.stderr)
        sys.exit(2 if isinstance(error, UserError) else 1)
