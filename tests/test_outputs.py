"""Outputs: nothing that vqaudio did not make is written into, replaced or taken for an output."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from vqaudio import files
from vqaudio.errors import UserError
from vqaudio.outputs import MARK, check_file, check_new, claim_folder, is_our_json, is_our_page


def test_a_new_folder_and_an_empty_one_are_marked(tmp_path):
    claim_folder(tmp_path / "a" / "b", "units")
    (tmp_path / "empty").mkdir()
    claim_folder(tmp_path / "empty", "units")
    for folder in (tmp_path / "a" / "b", tmp_path / "empty"):
        assert (folder / MARK).read_text() == "units\n"
        claim_folder(folder, "units")  # a second time, as a restarted job does


def test_a_folder_with_the_files_of_others_is_refused_and_stays_as_it_is(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"holds notes\.txt, and no \.vqaudio says .*; choose another place"):
        claim_folder(tmp_path, "units")
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_mark_that_the_user_puts_there_is_permission(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / MARK).write_text("")
    claim_folder(tmp_path, "units")
    assert (tmp_path / MARK).read_text() == "units\n"


def test_a_folder_made_as_something_else_is_refused(tmp_path):
    claim_folder(tmp_path / "out", "units")
    with pytest.raises(UserError, match="was made as units, not as wavs"):
        claim_folder(tmp_path / "out", "wavs")


@pytest.mark.parametrize(
    ("out", "message"),
    [("data", "is the input"), (".", "holds the input"), ("data/units", "lies in the input"), ("link", "is the input")],
)
def test_an_output_that_overlaps_an_input_is_refused(tmp_path, monkeypatch, out, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "link").symlink_to("data")
    with pytest.raises(UserError, match=f"{message} data; choose another place"):
        claim_folder(Path(out), "units", inputs=[Path("data")])


def test_an_output_may_lie_in_a_model_directory_but_not_be_one(tmp_path):
    (tmp_path / "exp").mkdir()
    (tmp_path / "exp" / "config.yaml").write_text("model")
    claim_folder(tmp_path / "exp" / "units" / "test", "units", outer=[tmp_path / "exp"])
    with pytest.raises(UserError, match="is the input"):
        claim_folder(tmp_path / "exp", "units", outer=[tmp_path / "exp"])


def test_a_file_in_the_way_is_refused(tmp_path):
    (tmp_path / "out").write_text("mine")
    for folder in (tmp_path / "out", tmp_path / "out" / "deeper"):
        with pytest.raises(UserError, match="choose another place"):
            claim_folder(folder, "units")
    assert (tmp_path / "out").read_text() == "mine"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_one_line(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(UserError, match="Permission denied"):
        claim_folder(tmp_path / "out", "units")
    tmp_path.chmod(0o700)


def test_a_file_of_others_is_not_replaced(tmp_path):
    out = tmp_path / "scores.json"
    check_file(out)
    out.write_text("")
    check_file(out)
    out.write_text("mine")
    with pytest.raises(UserError, match="exists, and vqaudio did not make it; remove it or choose another place"):
        check_file(out)
    check_file(out, ours=lambda path: path.read_text() == "mine")


def test_a_file_in_an_input_or_in_place_of_a_folder_is_refused(tmp_path):
    (tmp_path / "units").mkdir()
    with pytest.raises(UserError, match="lies in the input"):
        check_file(tmp_path / "units" / "units.txt", inputs=[tmp_path / "units"])
    with pytest.raises(UserError, match="is a folder"):
        check_file(tmp_path / "units")


def test_jobs_that_start_at_once_in_a_new_folder_all_may_write_there(tmp_path, monkeypatch):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / f"{files.PARTIAL}0123").write_text("uni")  # the mark of another job, half written
    claim_folder(tmp_path / "out", "units")

    def claim_and_fill(number):
        claim_folder(tmp_path / "new", "units")
        (tmp_path / "new" / f"file{number}").write_text("")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(claim_and_fill, range(64)))


def test_a_mark_that_appears_while_the_folder_is_listed_counts(tmp_path, monkeypatch):
    """Another job marks the folder and writes into it after this one has looked for nothing but strangers."""
    listed = Path.iterdir

    def slow(folder):
        (folder / MARK).write_text("units\n")
        (folder / "journal.txt").write_text("")
        return listed(folder)

    monkeypatch.setattr(Path, "iterdir", slow)
    claim_folder(tmp_path / "out", "units")


def test_a_device_and_a_broken_link_are_not_replaced(tmp_path):
    (tmp_path / "link").symlink_to("nowhere")
    for out in (Path("/dev/null"), tmp_path / "link"):
        with pytest.raises(UserError, match="is a device or a broken link, but a file is to be written"):
            check_file(out)


def test_a_link_to_an_input_is_the_input(tmp_path):
    (tmp_path / "wav.scp").write_text("a a.wav\n")
    (tmp_path / "out.json").symlink_to("wav.scp")
    with pytest.raises(UserError, match=r"out\.json: is the input .*wav\.scp"):
        check_file(tmp_path / "out.json", inputs=[tmp_path / "wav.scp"], ours=lambda path: True)


def test_a_loop_of_links_is_one_line(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    for check in (check_file, check_new):
        with pytest.raises(UserError):
            check(tmp_path / "loop", inputs=[tmp_path / "data"])
    with pytest.raises(UserError):
        claim_folder(tmp_path / "loop", "units", inputs=[tmp_path / "data"])


def test_what_is_to_be_new_may_not_exist(tmp_path):
    check_new(tmp_path / "out")
    (tmp_path / "out").mkdir()
    with pytest.raises(UserError, match="exists; choose another place, or remove it if nothing in it is needed"):
        check_new(tmp_path / "out")


def test_files_of_ours_are_known_by_what_is_in_them(tmp_path):
    path = tmp_path / "file"
    for content, json_of_ours, page_of_ours in [
        (b'{"vqaudio": "0.1.0", "pnmi": 0.4}', True, False),
        (b'{"results": {"vqaudio": 1}}', False, False),
        (b"[1, 2]", False, False),
        (b"\xff\xfe", False, False),
        (b"[" * 100_000, False, False),
        (b'<!doctype html>\n<meta name="generator" content="vqaudio">', False, True),
        (b'<!doctype html>\n<meta name="generator" content="pandoc">', False, False),
    ]:
        path.write_bytes(content)
        assert (is_our_json(path), is_our_page(path)) == (json_of_ours, page_of_ours), content
