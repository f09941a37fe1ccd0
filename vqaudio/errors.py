"""The two errors that end a command."""


class UserError(ValueError):
    """A mistake that the user can correct: one line that names the file, the value and the cure; exit code 2."""


class JobError(RuntimeError):
    """A job that failed in whole or in part: one line with a count or a cause; exit code 1."""
