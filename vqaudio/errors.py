"""The two ways in which a command ends badly."""


class UserError(ValueError):
    """A mistake the user can cure: one line that names the file, the value and the cure; exit code 2."""


class JobError(RuntimeError):
    """A job that could not do all of its work: one line with a count or a cause; exit code 1."""
