"""Atomic files, and the one line for each error of the operating system."""

import contextlib
import errno
import hashlib
import os
from pathlib import Path

import pytest
from os_faults import FORBIDDEN, FULL, OPERATIONS, Fault

from vqaudio import files
from vqaudio.errors import JobError, UserError
from vqaudio.files import atomic_write, atomic_writer, copy_file, explain, lock_file, locked, open_to_write, sha256


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


@pytest.mark.parametrize("number", FULL + FORBIDDEN)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_error_at_any_step_names_the_file_and_leaves_the_old_one(operation, number, tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    path.write_text("old")
    kind = JobError if number in FULL else UserError
    with monkeypatch.context() as patch:
        Fault(patch, operation, number, at=1)
        with pytest.raises(kind) as raised:
            atomic_write(path, "new")
    assert str(raised.value).startswith(f"{path}: cannot be written ({os.strerror(number)}); ")
    assert "\n" not in str(raised.value)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_library_that_hides_the_error_of_the_disk_does_not_hide_it_from_the_user(tmp_path, monkeypatch):
    Fault(monkeypatch, "write", errno.ENOSPC, at=1)

    def save() -> None:
        with atomic_writer(tmp_path / "a.bin", "wb") as file:
            try:
                file.write(b"1" * 100_000)
            except OSError:
                raise RuntimeError("unexpected pos 64 vs 0") from None

    with pytest.raises(JobError, match=r"a\.bin: cannot be written \(No space left on device\); free space"):
        save()
    assert not list(tmp_path.iterdir())


def test_an_error_of_the_body_is_not_taken_for_one_of_the_file(tmp_path):
    with pytest.raises(FileNotFoundError) as raised, atomic_writer(tmp_path / "a") as file:
        file.write((tmp_path / "missing").read_text())
    assert raised.value.filename == str(tmp_path / "missing")


@pytest.mark.parametrize("mode", ["a", "r+"])
def test_a_file_that_is_written_bit_by_bit_is_named_by_its_error(mode, tmp_path, monkeypatch):
    (tmp_path / "a").write_bytes(b"12")
    with open_to_write(tmp_path / "a", mode) as file:
        file.write(b"3")
    assert (tmp_path / "a").read_bytes() == (b"123" if mode == "a" else b"32")
    file = open_to_write(tmp_path / "a", mode)
    Fault(monkeypatch, "write", errno.ENOSPC, at=1)
    file.write(b"4")
    with pytest.raises(OSError, match="No space left") as raised:
        file.close()
    assert str(explain(raised.value)).startswith(f"{tmp_path / 'a'}: No space left on device; ")


def test_a_copy_has_the_content_and_the_times(tmp_path):
    source = tmp_path / "a"
    source.write_bytes(b"content")
    os.utime(source, (1e9, 1e9))
    copy_file(source, tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == b"content"
    assert (tmp_path / "b").stat().st_mtime == 1e9


def test_an_error_is_explained_in_one_line():
    missing = FileNotFoundError(errno.ENOENT, "No such file or directory", "/a/b")
    assert str(explain(missing)) == "/a/b: No such file or directory; check the path"
    renamed = OSError(errno.EIO, "Input/output error", "from", None, "to")
    assert str(explain(renamed)).startswith("to: Input/output error; check the disk")
    temporary = PermissionError(errno.EACCES, "Permission denied", "/out/.partial-1234")
    assert str(explain(temporary)).startswith("/out: Permission denied; ")
    assert str(explain(OSError(errno.EACCES, "Permission denied", b"caf\xe9"))).startswith("caf\udce9: ")
    assert str(explain(OSError("odd"))).startswith("odd; ")
    assert str(explain(OSError(errno.EBADF, "Bad file descriptor", 3))).startswith("Bad file descriptor; ")


def test_a_system_that_cannot_lock_files_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "fcntl", None)
    for context in (locked(tmp_path / "a"), lock_file(tmp_path / "b")):
        with pytest.raises(UserError, match="Linux and macOS; on Windows run it inside WSL"), context:
            pass
    assert not list(tmp_path.iterdir())
