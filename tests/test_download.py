"""The recipe's download against a server on this machine: resumed, checked, unpacked whole or not at all."""

import hashlib
import io
import os
import shutil
import signal
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).resolve().parent.parent / "recipes" / "vctk" / "local" / "download.sh"
RECORDING = np.random.default_rng(0).bytes(100_000)


def zipped(members: dict[str, bytes]) -> bytes:
    """A zip file in memory."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        for name, data in members.items():
            file.writestr(zipfile.ZipInfo(name), data)
    return content.getvalue()


class Server(ThreadingHTTPServer):
    """Serves `content`; each of the first `cuts` answers breaks off after `cut_after` bytes, or stalls there."""

    knows_range, cut_after, cuts = True, 0, 0
    content = zipped({"wav48/p225/p225_001_mic1.flac": RECORDING, "wav48/p225/p225_001_mic2.flac": b"2"})

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.ranges: list[str | None] = []
        self.stalled, self.go_on = threading.Event(), threading.Event()
        self.go_on.set()


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server, wanted = self.server, self.headers.get("Range")
        server.ranges.append(wanted)
        size = len(server.content)
        first = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and server.knows_range else 0
        self.send_response(206 if first else 200)
        self.send_header("Content-Length", str(size - first))
        if first:
            self.send_header("Content-Range", f"bytes {first}-{size - 1}/{size}")
        self.end_headers()
        cut = server.cut_after if len(server.ranges) <= server.cuts else size
        self.wfile.write(server.content[first:][:cut])
        self.wfile.flush()
        server.stalled.set()
        server.go_on.wait()

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield running
        running.go_on.set()
        running.shutdown()


class Download:
    """A copy of the script that downloads from the server of the test to `out`."""

    def __init__(self, folder: Path, server: Server) -> None:
        self.out = folder / "new folder" / "corpus"
        self.part, self.zip = (self.out.with_name(f"corpus.{end}") for end in ("zip.part", "zip"))
        self.bin = folder / "bin"
        self.bin.mkdir()
        (self.bin / "python").symlink_to(sys.executable)
        before, _, rest = SCRIPT.read_text().partition("\nurls=(")
        _, _, after = rest.partition("\n\ndie()")
        constants = f"\nurls=(http://127.0.0.1:{server.server_port}/a.zip)\nsize={len(server.content)}\n"
        constants += f"sha256={hashlib.sha256(server.content).hexdigest()}\nattempts=3\npause=0\n"
        assert after
        self.script = folder / "download.sh"
        self.script.write_text(f"{before}{constants}\n\ndie(){after}")
        self.command = ["bash", str(self.script), str(self.out)]
        self.env = os.environ | {"PATH": f"{self.bin}:{os.environ['PATH']}", "no_proxy": "127.0.0.1"}

    def leave_part(self, content: bytes) -> None:
        """Make what an interrupted download leaves."""
        self.part.parent.mkdir()
        self.part.write_bytes(content)

    def run(self, code: int = 0) -> str:
        """Run the script, check its exit code and return its messages."""
        done = subprocess.run(self.command, env=self.env, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stderr

    def names(self) -> list[str]:
        """Return what lies in the folder of the corpus."""
        return sorted(path.name for path in self.out.parent.iterdir())


@pytest.fixture
def download(tmp_path: Path, server: Server) -> Download:
    return Download(tmp_path, server)


def test_an_archive_is_downloaded_and_unpacked_once_without_the_second_microphone(server, download) -> None:
    for _ in range(2):
        assert download.run() == ""
    assert server.ranges == [None]
    (recording,) = (path for path in download.out.rglob("*") if path.is_file())
    assert recording.relative_to(download.out).as_posix() == "wav48/p225/p225_001_mic1.flac"
    assert recording.read_bytes() == RECORDING
    assert download.names() == ["corpus", "corpus.zip"]


def test_an_interrupted_download_resumes_where_it_stopped(server, download) -> None:
    download.leave_part(server.content[:40_000])
    download.run()
    assert server.ranges == ["bytes=40000-"]
    assert download.zip.read_bytes() == server.content


def test_a_broken_connection_is_tried_again_from_where_it_broke(server, download) -> None:
    server.cuts, server.cut_after = 2, 30_000
    assert "curl" in download.run()
    assert server.ranges == [None, "bytes=30000-", "bytes=60000-"]
    assert download.zip.read_bytes() == server.content


def test_a_server_that_cannot_resume_starts_anew(server, download) -> None:
    server.knows_range = False
    download.leave_part(b"x" * 40_000)
    download.run()
    assert download.zip.read_bytes() == server.content


def test_a_complete_part_is_only_checked(server, download) -> None:
    download.leave_part(server.content)
    download.run()
    assert server.ranges == []
    assert download.out.is_dir()


def test_a_wrong_sum_is_one_line_and_leaves_nothing(server, download) -> None:
    download.leave_part(b"x" * 40_000)
    message = download.run(1)
    assert message.count("\n") == 1
    assert "the SHA-256 of the download is" in message
    assert download.names() == []
    download.run()
    assert download.out.is_dir()


def test_another_file_than_the_expected_one_is_given_up(server, download) -> None:
    server.content = b"<html>moved</html>"
    assert "the download failed 3 times; run again to resume it" in download.run(1)
    assert download.names() == []


def test_a_server_that_does_not_answer_is_given_up_and_the_part_kept(server, download) -> None:
    download.leave_part(server.content[:40_000])
    server.server_close()
    assert "the download failed 3 times; run again to resume it" in download.run(1)
    assert download.part.stat().st_size == 40_000


def test_a_full_disk_is_reported_before_the_download(server, download) -> None:
    (download.bin / "df").write_text("#!/bin/sh\necho Filesystem Blocks Used Available\necho disk 1000 1000 10\n")
    (download.bin / "df").chmod(0o755)
    assert "make room and run again" in download.run(1)
    assert server.ranges == []


def test_a_missing_curl_is_reported(server, download) -> None:
    for tool in ("bash", "dirname", "mkdir"):
        (download.bin / tool).symlink_to(shutil.which(tool))
    download.env["PATH"] = str(download.bin)
    assert download.run(1) == "download.sh: curl is missing; install it with your package manager\n"


def test_an_interrupted_unpacking_starts_again(server, download) -> None:
    (download.out.parent / "corpus.partial/wav48/p225").mkdir(parents=True)
    (download.out.parent / "corpus.partial/wav48/p225/p225_001_mic1.flac").write_bytes(b"half")
    (download.out.parent / "corpus.partial/other").touch()
    download.run()
    assert (download.out / "wav48/p225/p225_001_mic1.flac").read_bytes() == RECORDING
    assert [path.name for path in download.out.iterdir()] == ["wav48"]
    assert download.names() == ["corpus", "corpus.zip"]


def test_a_damaged_archive_is_one_line_and_makes_no_corpus(server, download) -> None:
    download.out.parent.mkdir()
    download.zip.write_bytes(server.content.replace(RECORDING, RECORDING[::-1]))
    message = download.run(1)
    assert message.startswith(f"download.sh: {download.zip}: cannot be unpacked (Bad CRC-32")
    assert message.count("\n") == 1
    assert not download.out.exists()


def test_no_member_of_an_archive_leaves_the_folder(server, download, tmp_path) -> None:
    evil = dict.fromkeys(("../../evil", "/evil", "a/../../../evil"), b"2")
    download.out.parent.mkdir()
    download.zip.write_bytes(zipped(evil))
    download.run()
    files = {path for path in tmp_path.rglob("*") if path.is_file() and path.name == "evil"}
    assert files
    assert all(download.out in path.parents for path in files)
    assert not Path("/evil").exists()


def test_a_signal_ends_the_transfer_and_keeps_the_part(server, download) -> None:
    server.cuts, server.cut_after = 1, 30_000
    server.go_on.clear()
    running = subprocess.Popen(download.command, env=download.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert server.stalled.wait(30)
    running.send_signal(signal.SIGTERM)
    running.communicate(timeout=30)  # returns once curl, too, has closed its output
    assert running.returncode == 143
    server.go_on.set()
    download.run()
    assert download.zip.read_bytes() == server.content
