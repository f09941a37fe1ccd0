"""What `validate` finds in a data directory: errors and warnings as lines of text, and the same as records."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

_LINE = re.compile(
    r"(?P<file>.+?)(?::(?P<line>[0-9]+))?: (?P<message>(?:duplicate )?(?:'(?P<key>[^']+)')?.*)", re.DOTALL
)


class Finding(str):
    """One line "FILE:LINE: 'KEY' WHAT IS WRONG; CURE", of which LINE and KEY may be absent; `kind` is one word."""

    kind: str

    def __new__(cls, line: str, kind: str) -> "Finding":
        """Return a line with its kind."""
        finding = super().__new__(cls, line)
        finding.kind = kind
        return finding

    def record(self, severity: str) -> dict[str, str | int | None]:
        """Return `severity`, and the kind, file, line, key and message; None for what the finding does not have."""
        match = _LINE.fullmatch(self)
        parts = match.groupdict() if match else {"file": None, "line": None, "key": None, "message": str(self)}
        line = int(parts["line"]) if parts["line"] else None
        return {"severity": severity, "kind": self.kind, **parts, "line": line}


@dataclass
class Problems:
    """Errors and warnings of `validate`, one line each: the file, the value, the bound, the cure."""

    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def error(self, kind: str, lines: Iterable[str]) -> None:
        """Add errors of one kind."""
        self.errors += [Finding(line, kind) for line in lines]

    def warn(self, kind: str, lines: Iterable[str]) -> None:
        """Add warnings of one kind."""
        self.warnings += [Finding(line, kind) for line in lines]

    def records(self) -> list[dict[str, str | int | None]]:
        """Return all errors, then all warnings, as `Finding.record` describes them."""
        found = [("error", line) for line in self.errors] + [("warning", line) for line in self.warnings]
        return [line.record(severity) for severity, line in found if isinstance(line, Finding)]
