"""Downloads against a server on this machine: resumed, checked, and unpacked without leaving the folder."""

import hashlib
import stat
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from vqaudio.corpora.download import Archive, download, unzip
from vqaudio.errors import JobError

CONTENT = np.random.default_rng(0).bytes(100_000)


class Server(ThreadingHTTPServer):
    """Serves CONTENT; `cut_after` bytes of each of the first `cuts` answers the connection breaks."""

    knows_range, cut_after, cuts = True, 0, 0

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.ranges: list[str | None] = []


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.server.ranges.append(wanted)
        first = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and self.server.knows_range else 0
        body = CONTENT[first:]
        self.send_response(206 if first else 200)
        self.send_header("Content-Length", str(len(body)))
        if first:
            self.send_header("Content-Range", f"bytes {first}-{len(CONTENT) - 1}/{len(CONTENT)}")
        self.end_headers()
        if len(self.server.ranges) <= self.server.cuts:
            body = body[: self.server.cut_after]
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield running
        running.shutdown()


def archive(server: Server, content: bytes = CONTENT) -> Archive:
    url = f"http://127.0.0.1:{server.server_port}/a.zip"
    return Archive([url], len(content), hashlib.sha256(content).hexdigest())


def test_a_file_is_downloaded_once(server: Server, tmp_path: Path) -> None:
    for _ in range(2):
        download(archive(server), tmp_path / "new folder" / "a.zip")
    assert (tmp_path / "new folder" / "a.zip").read_bytes() == CONTENT
    assert server.ranges == [None]


def test_an_interrupted_download_goes_on_where_it_stopped(server: Server, tmp_path: Path) -> None:
    (tmp_path / "a.zip.part").write_bytes(CONTENT[:40_000])
    download(archive(server), tmp_path / "a.zip")
    assert server.ranges == ["bytes=40000-"]
    assert (tmp_path / "a.zip").read_bytes() == CONTENT
    assert not (tmp_path / "a.zip.part").exists()


def test_broken_connections_are_tried_again_from_where_they_broke(server: Server, tmp_path: Path) -> None:
    server.cuts, server.cut_after = 2, 30_000
    download(archive(server), tmp_path / "a.zip", pause=0)
    assert server.ranges == [None, "bytes=30000-", "bytes=60000-"]
    assert (tmp_path / "a.zip").read_bytes() == CONTENT


def test_a_server_without_ranges_starts_anew(server: Server, tmp_path: Path) -> None:
    server.knows_range = False
    (tmp_path / "a.zip.part").write_bytes(b"x" * 40_000)
    download(archive(server), tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_bytes() == CONTENT


def test_a_complete_part_is_only_checked(server: Server, tmp_path: Path) -> None:
    (tmp_path / "a.zip.part").write_bytes(CONTENT)
    download(archive(server), tmp_path / "a.zip")
    assert server.ranges == []


def test_a_wrong_sum_is_refused_and_the_file_kept_aside(server: Server, tmp_path: Path) -> None:
    (tmp_path / "a.zip.part").write_bytes(b"x" * 40_000)
    with pytest.raises(JobError, match=r"SHA-256 is .* it should be"):
        download(archive(server), tmp_path / "a.zip")
    assert (tmp_path / "a.zip.bad").stat().st_size == len(CONTENT)
    assert not (tmp_path / "a.zip").exists()
    download(archive(server), tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_bytes() == CONTENT


def test_a_finished_file_that_went_bad_is_refused(server: Server, tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(CONTENT[:-1] + bytes([CONTENT[-1] ^ 1]))
    with pytest.raises(JobError, match="its SHA-256 is wrong"):
        download(archive(server), tmp_path / "a.zip")


def test_a_server_that_sends_too_much_is_given_up(server: Server, tmp_path: Path) -> None:
    with pytest.raises(JobError, match="failed 2 times"):
        download(archive(server, CONTENT[:-1]), tmp_path / "a.zip", attempts=2, pause=0)


def test_a_server_that_stays_away_is_given_up_with_a_word_on_resuming(server: Server, tmp_path: Path) -> None:
    there = archive(server)
    server.server_close()
    with pytest.raises(JobError, match=r"failed 2 times; run again to go on from a.zip.part"):
        download(there, tmp_path / "a.zip", attempts=2, pause=0)


def test_other_protocols_are_refused(tmp_path: Path) -> None:
    with pytest.raises(JobError, match="only https"):
        download(Archive(["file:///etc/passwd"], 10, ""), tmp_path / "a.zip", attempts=1)


def make_zip(path: Path, members: dict[str, bytes], mode: int = 0) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for name, content in members.items():
            member = zipfile.ZipInfo(name)
            member.external_attr = mode << 16
            file.writestr(member, content)
    return path


def test_wanted_members_are_unpacked(tmp_path: Path) -> None:
    source = make_zip(tmp_path / "a.zip", {"txt/p225/p225_001.txt": b"Yes.", "x_mic2.flac": b"2"})
    assert unzip(source, tmp_path / "out", lambda name: not name.endswith("_mic2.flac")) == 1
    assert (tmp_path / "out/txt/p225/p225_001.txt").read_bytes() == b"Yes."
    assert not (tmp_path / "out/x_mic2.flac").exists()


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "a/../../evil", "a\\..\\evil", "C:/evil"])
def test_a_member_that_leaves_the_folder_is_refused_before_anything_is_written(tmp_path: Path, name: str) -> None:
    with pytest.raises(JobError, match="would leave the folder"):
        unzip(make_zip(tmp_path / "a.zip", {"good": b"1", name: b"2"}), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "evil").exists()


def test_a_link_is_refused(tmp_path: Path) -> None:
    source = make_zip(tmp_path / "a.zip", {"link": b"/etc"}, mode=stat.S_IFLNK | 0o777)
    with pytest.raises(JobError, match="is a link"):
        unzip(source, tmp_path / "out")


def test_unpacking_again_does_only_what_is_missing(tmp_path: Path) -> None:
    source = make_zip(tmp_path / "a.zip", {"one": b"11", "two": b"22"})
    unzip(source, tmp_path / "out")
    before = (tmp_path / "out/one").stat().st_mtime_ns
    (tmp_path / "out/two").write_bytes(b"2")
    unzip(source, tmp_path / "out")
    assert (tmp_path / "out/one").stat().st_mtime_ns == before
    assert (tmp_path / "out/two").read_bytes() == b"22"


def test_a_damaged_archive_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"PK no zip")
    with pytest.raises(JobError, match=r"a\.zip: damaged zip file"):
        unzip(tmp_path / "a.zip", tmp_path / "out")
