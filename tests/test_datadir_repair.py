"""Repairing and splitting data directories."""

import contextlib
import re
import shutil
import tempfile
from pathlib import Path

import pytest
from datadirs import edit, make, make_segmented
from hypothesis import given, settings
from hypothesis import strategies as st

from vqaudio import datadir
from vqaudio.datadir.layout import TABLES
from vqaudio.errors import UserError


@pytest.fixture(autouse=True, scope="module")
def _no_fsync():
    """Write without waiting for the disk: hundreds of files are written here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda descriptor: None)
        yield


@pytest.fixture
def data(tmp_path) -> Path:
    return make(tmp_path)


@pytest.fixture
def segmented(tmp_path) -> Path:
    return make_segmented(tmp_path)


def test_fix_repairs_lines_and_keeps_the_originals(data):
    lines = (data / "wav.scp").read_text().splitlines(keepends=True)
    shuffled = "\ufeff" + "".join([lines[3], lines[0], lines[0], *lines[1:3], "s1-c /elsewhere\n", *lines[4:]]).rstrip(
        "\n"
    )
    (data / "wav.scp").write_bytes(shuffled.replace("\n", "\r\n").encode())
    edit(data / "text", "one s1-b", "one\u00a0s1-b")
    edit(data / "utt2spk", "s2-b s2\n", "")
    done = "\n".join(datadir.fix(data))
    for words in (
        "1 repeated lines",
        "'s1-c', contradicts",
        "wav.scp: sorted",
        "carriage returns",
        "odd white space",
        "dropped 's2-b': utt2spk lacks it",
        "spk2utt: rebuilt",
        "added the missing newline",
    ):
        assert words in done
    assert (data / "wav.scp").read_text() == "".join(lines[:4] + lines[5:])
    assert datadir.read_table(data / "text")["s1-b"] == "one s1-b"
    assert "s2-b" not in datadir.read_ctm(data / "phones.ctm")
    assert datadir.validate(data) == datadir.Problems([], [])
    assert (data / ".backup" / "wav.scp").read_bytes().decode() == shuffled.replace("\n", "\r\n")
    assert not (data / ".backup" / "spk2gender").exists()
    assert datadir.fix(data) == []


def test_fix_never_overwrites_a_backup(data):
    for utt in ("s1-a", "s1-b"):
        (data.parent / f"{utt} .wav").unlink()
        datadir.fix(data)
    assert (data / ".backup" / "wav.scp").read_text().count("\n") == 6
    assert (data / ".backup" / "wav.scp.2").read_text().count("\n") == 5


def test_fix_changes_nothing_where_no_utterance_would_remain(data):
    shutil.move(data, data.parent / "moved")
    for path in data.parent.glob("*.wav"):
        path.unlink()
    before = {p: p.read_bytes() for p in (data.parent / "moved").iterdir()}
    with pytest.raises(UserError, match=r"no utterance would remain .*'s1-a': .* no such file"):
        datadir.fix(data.parent / "moved")
    assert before == {p: p.read_bytes() for p in (data.parent / "moved").iterdir()}


@pytest.mark.parametrize("jobs", [1, 4, 6, 99])
def test_split_is_even_complete_and_valid(data, tmp_path, jobs):
    parts = datadir.split(data, tmp_path / "split", jobs)
    assert parts == [tmp_path / "split" / str(i) for i in range(1, min(jobs, 6) + 1)]
    sizes = [len(datadir.read_utterances(part)) for part in parts]
    assert max(sizes) - min(sizes) <= 1
    assert [u for part in parts for u in datadir.read_utterances(part)] == datadir.read_utterances(data)
    for part in parts:
        assert datadir.validate(part) == datadir.Problems([], [])
        assert {p.name for p in part.iterdir()} == {p.name for p in data.iterdir()} | {".vqaudio"}


def test_split_again_leaves_nothing_of_the_split_before(data, tmp_path):
    out = tmp_path / "split"
    datadir.split(data, out, 6)
    (out / "5" / "results").touch()
    (data / "text").unlink()
    assert len(datadir.split(data, out, 2)) == 2
    assert sorted(str(p.relative_to(out)) for p in out.rglob("*") if p.name in ("text", "wav.scp", "results")) == [
        "1/wav.scp", "2/wav.scp", "5/results",
    ]  # fmt: skip


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_split_touches_no_folder_that_it_did_not_make(data, tmp_path):
    speakers = tmp_path / "speakers"
    for name in ("19", "26", "2"):
        shutil.copytree(data, speakers / name)
    before = contents(speakers)
    with pytest.raises(UserError, match=rf"{speakers}: holds 19, and no \.vqaudio says"):
        datadir.split(data, speakers, 2)
    assert contents(speakers) == before


@pytest.mark.parametrize("jobs", [1, 3])
def test_a_folder_that_somebody_put_among_the_parts_is_never_cleared_or_written_into(data, tmp_path, jobs):
    out = tmp_path / "split"
    datadir.split(data, out, 2)
    for name in ("3", "7"):
        shutil.copytree(data, out / name)
    before = contents(out / "3") | contents(out / "7")
    if jobs == 1:
        datadir.split(data, out, jobs)
        assert not (out / "2").exists()
    else:
        parts = contents(out)
        with pytest.raises(UserError, match=rf"{out / '3'}: holds phones\.ctm, and no \.vqaudio says"):
            datadir.split(data, out, jobs)
        assert contents(out) == parts
    assert contents(out / "3") | contents(out / "7") == before


@pytest.mark.parametrize("place", [".", "..", "split", "../link"])
def test_split_into_its_input_is_refused_and_both_are_named(data, tmp_path, place):
    (tmp_path / "link").symlink_to(data)
    before = contents(tmp_path)
    with pytest.raises(UserError, match=rf"^{re.escape(str(data / place))}: .* the input {data};"):
        datadir.split(data, data / place, 2)
    assert contents(tmp_path) == before


def test_split_with_segments_takes_recordings_along(segmented, tmp_path):
    for part in datadir.split(segmented, tmp_path / "split", 2):
        assert datadir.validate(part) == datadir.Problems([], [])
        assert len(datadir.read_table(part / "segments")) == 1


def test_split_needs_a_job_and_an_utterance(data, tmp_path):
    with pytest.raises(UserError, match="0 jobs; give 1 or more"):
        datadir.split(data, tmp_path / "split", 0)
    datadir.write_utterances(tmp_path / "none", [])
    with pytest.raises(UserError, match="nothing to split"):
        datadir.split(tmp_path / "none", tmp_path / "split", 1)


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> Path:
    return make(tmp_path_factory.mktemp("sound"))


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([*TABLES, "phones.ctm"]),
    st.binary(max_size=40) | st.text(st.sampled_from("s1-a b\n\t\r.0|\u00a0\u2028é"), max_size=40).map(str.encode),
    st.booleans(),
)
def test_no_bytes_in_any_file_bring_down_validate_fix_or_split(sound, name, content, append):
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        shutil.copytree(sound, data)
        path = data / name
        path.write_bytes((path.read_bytes() if append and path.exists() else b"") + content)
        found = datadir.validate(data)
        assert not any("\n" in line for line in found.errors + found.warnings)
        with contextlib.suppress(UserError):
            datadir.split(data, Path(folder) / "split", 2)
        with contextlib.suppress(UserError):
            datadir.fix(data)
            assert datadir.fix(data) == []
