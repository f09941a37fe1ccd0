"""Downloads that survive interruptions: resumed by Range, checked by size and SHA-256, unpacked without traversal."""

import http.client
import logging
import os
import shutil
import stat
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from vqaudio.errors import JobError
from vqaudio.files import sha256

logger = logging.getLogger(__name__)

BLOCK = 1 << 20
TIMEOUT = 60.0


@dataclass(frozen=True)
class Archive:
    """A file to download: where from (in order of preference), and what it must be."""

    urls: Sequence[str]
    size: int
    sha256: str


# Edinburgh DataShare, doi:10.7488/ds/2645, CC BY 4.0; the size and the sum are those that torchaudio and TFDS check.
VCTK_092 = Archive(
    urls=(
        "https://datashare.ed.ac.uk/bitstreams/535f4286-e54c-4038-838c-a02285e32cb2/download",
        "https://datashare.ed.ac.uk/bitstream/handle/10283/3443/VCTK-Corpus-0.92.zip",
    ),
    size=11_747_302_977,
    sha256="f96258be9fdc2cbff6559541aae7ea4f59df3fcaf5cf963aae5ca647357e359c",
)


def download(archive: Archive, path: Path, *, attempts: int = 10, pause: float = 5.0) -> None:
    """Download `archive` to `path`, going on from `path.part` after an interruption.

    A broken connection is tried again, `attempts` times in all with `pause` seconds between. Raises JobError when
    the server stays away, the disk is too small, or size or SHA-256 are wrong (the file is then `path.bad`).
    """
    if path.is_file() and path.stat().st_size == archive.size:
        if sha256(path) == archive.sha256:
            return
        _reject(path, path, "its SHA-256 is wrong")
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    missing = archive.size - (part.stat().st_size if part.is_file() else 0)
    free = shutil.disk_usage(path.parent).free
    if missing > free:
        raise JobError(f"{path}: {missing / 1e9:.1f} GB to download, {free / 1e9:.1f} GB free; make room and run again")
    for attempt in range(attempts):
        url = archive.urls[attempt % len(archive.urls)]
        try:
            _fetch(url, part, archive.size)
        except (OSError, http.client.HTTPException) as error:
            logger.warning("%s: %s (attempt %d of %d)", url, error, attempt + 1, attempts)
            time.sleep(pause)
            continue
        _check(archive, part, path)
        return
    raise JobError(f"{path}: the download failed {attempts} times; run again to go on from {part.name}")


def _fetch(url: str, part: Path, size: int) -> None:
    """Append to `part` what is missing of it, or start anew when the server knows no Range."""
    have = part.stat().st_size if part.is_file() else 0
    if have == size:
        return
    if have > size:
        part.unlink()
        have = 0
    if not url.startswith(("https://", "http://127.0.0.1:")):
        raise JobError(f"{url}: only https is downloaded from")
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})  # noqa: S310 - checked
    with urllib.request.urlopen(request, timeout=TIMEOUT) as response:  # noqa: S310 - checked above
        resumed = have > 0 and response.status == 206
        if resumed and not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            raise http.client.HTTPException(f"wrong Content-Range: {response.headers.get('Content-Range')}")
        with part.open("ab" if resumed else "wb") as file:
            total = have if resumed else 0
            while block := response.read(BLOCK):
                total += len(block)
                if total > size:
                    raise http.client.HTTPException(f"more than the {size} bytes expected")
                file.write(block)
    if total < size:
        raise http.client.HTTPException(f"the connection ended at {total} of {size} bytes")


def _check(archive: Archive, part: Path, path: Path) -> None:
    found = sha256(part)
    if found != archive.sha256:
        _reject(part, path, f"its SHA-256 is {found}, it should be {archive.sha256}")
    with part.open("rb") as file:
        os.fsync(file.fileno())
    part.replace(path)


def _reject(file: Path, path: Path, why: str) -> None:
    bad = path.with_name(f"{path.name}.bad")
    file.replace(bad)
    raise JobError(f"{path}: {why}; kept as {bad.name}; run again to download it anew")


def unzip(archive: Path, out: Path, wanted: Callable[[str], bool] = lambda _: True) -> int:
    """Unpack the members of `archive` whose name is `wanted` into `out`; return how many.

    What an earlier, interrupted call unpacked in full is kept. Raises JobError for a member that would land outside of
    `out` (an absolute name, "..", a drive, a link), before anything is written, and for a damaged archive.
    """
    try:
        with zipfile.ZipFile(archive) as file:
            members = [member for member in file.infolist() if not member.is_dir()]
            for member in members:
                _refuse_traversal(archive, member)
            members = [member for member in members if wanted(member.filename)]
            for member in members:
                target = out / member.filename
                if target.is_file() and target.stat().st_size == member.file_size:
                    continue
                target.parent.mkdir(parents=True, exist_ok=True)
                partial = target.with_name(f"{target.name}.part")
                with file.open(member) as source, partial.open("wb") as sink:
                    shutil.copyfileobj(source, sink, BLOCK)
                partial.replace(target)
    except (zipfile.BadZipFile, EOFError) as error:
        raise JobError(f"{archive}: damaged zip file ({error}); delete it and run again") from None
    return len(members)


def _refuse_traversal(archive: Path, member: zipfile.ZipInfo) -> None:
    name = PurePosixPath(member.filename)
    mode = member.external_attr >> 16
    outside = name.is_absolute() or ".." in name.parts or "\\" in member.filename or ":" in name.parts[0]
    if outside or (stat.S_IFMT(mode) not in (0, stat.S_IFREG)):
        raise JobError(f"{archive}: refused, its member {member.filename!r} would leave the folder or is a link")
