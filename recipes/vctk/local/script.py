"""Exit codes and one-line errors for the scripts of this folder."""

import sys
from collections.abc import Callable
from pathlib import Path

from vqaudio.errors import JobError, UserError


def run(main: Callable[[], None]) -> None:
    """Run `main`; print its error on one line and exit with 1 (a job failed) or 2 (a mistake of the user)."""
    try:
        main()
    except (UserError, JobError) as error:
        print(f"{Path(sys.argv[0]).name}: {error}", file=sys.stderr)
        sys.exit(2 if isinstance(error, UserError) else 1)
