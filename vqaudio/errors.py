"""The errors that end a command."""

import re

_BREAKS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]")


def _one_line(message: str) -> str:
    """Return a message with control characters and line breaks, which come from file contents, as escapes."""
    return _BREAKS.sub(lambda match: repr(match[0])[1:-1], message)


class UserError(ValueError):
    """A mistake that the user can correct: one line that names the file, the value and the cure; exit code 2."""

    def __init__(self, message: str) -> None:
        super().__init__(_one_line(message))


class JobError(RuntimeError):
    """A job that failed in whole or in part: one line with a count or a cause; exit code 1."""

    def __init__(self, message: str) -> None:
        super().__init__(_one_line(message))


class StoppedError(JobError):
    """A job that a signal stopped after it saved what it had: exit code 128 and the number of the signal."""

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + number


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message; the name of its type if it has none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
