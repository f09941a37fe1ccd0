"""Atomic files."""

import contextlib
import hashlib
from pathlib import Path

import pytest

from vqaudio.errors import UserError
from vqaudio.files import atomic_write, atomic_writer, sha256


def test_text_is_written_as_utf8_with_lf(tmp_path):
    atomic_write(tmp_path / "a.txt", "größe\n")
    with atomic_writer(tmp_path / "b.txt") as file:
        file.write("größe\n")
    assert (tmp_path / "a.txt").read_bytes() == (tmp_path / "b.txt").read_bytes() == "größe\n".encode()


def test_the_old_file_stands_until_the_new_one_is_complete(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    with atomic_writer(path, "wb") as file:
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"


def test_an_exception_leaves_the_old_file_and_nothing_beside_it(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with contextlib.suppress(KeyboardInterrupt), atomic_writer(path) as file:
        file.write("half of it")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_name_as_long_as_the_system_allows_can_be_written(tmp_path):
    path = tmp_path / ("x" * 255)
    atomic_write(path, b"1")
    assert list(tmp_path.iterdir()) == [path]


def test_other_users_may_read_what_the_umask_allows(tmp_path):
    plain = tmp_path / "plain"
    plain.touch()
    atomic_write(tmp_path / "atomic", "")
    assert (tmp_path / "atomic").stat().st_mode == plain.stat().st_mode


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(UserError, match=r"no/a\.txt: cannot be written"):
        atomic_write(tmp_path / "no" / "a.txt", "")


def test_sha256_reads_files_larger_than_its_buffer(tmp_path: Path):
    data = bytes(range(256)) * 5000
    (tmp_path / "a").write_bytes(data)
    assert sha256(tmp_path / "a") == hashlib.sha256(data).hexdigest()
