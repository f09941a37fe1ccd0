"""Print a SHA-256 of the names, sizes and times of the files of a corpus: list_files.py FOLDER.

The sum includes the audio files that the wav.scp of a Kaldi data directory names, wherever they are.
"""

import hashlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path


def files(folder: Path) -> Iterator[Path]:
    """Yield all files below `folder` in a fixed order, then the files that its wav.scp names."""
    for place, folders, names in os.walk(folder, followlinks=True):
        folders.sort()
        yield from (Path(place, name) for name in sorted(names))
    if (folder / "wav.scp").is_file():
        for line in (folder / "wav.scp").read_text(encoding="utf-8", errors="replace").splitlines():
            path = Path(line.partition(" ")[2].strip())
            if path.is_file():
                yield path


def main() -> None:
    """Print the sum."""
    total = hashlib.sha256()
    for path in files(Path(sys.argv[1])):
        found = path.stat()
        total.update(f"{path} {found.st_size} {found.st_mtime_ns}\n".encode(errors="surrogateescape"))
    print(total.hexdigest())


if __name__ == "__main__":
    main()
