"""Data directories as streams: the same utterances as before, cut into parts of the same duration."""

import itertools
from pathlib import Path

import datadirs
import numpy as np
import pytest

from vqaudio.datadir import Listed, Manifest, Utterance, read_utterances, write_table, write_utterances
from vqaudio.errors import UserError


def make(folder: Path, durations: list[float] | None, count: int = 40) -> Path:
    """A data directory of `count` utterances whose audio does not exist."""
    utts = [f"s{n % 3}-{n:03d}" for n in range(count)]
    write_utterances(folder, [Utterance(utt, folder / f"{utt}.wav", utt[:2]) for utt in utts])
    if durations is not None:
        write_table(folder / "utt2dur", {utt: f"{d:g}" for utt, d in zip(sorted(utts), durations, strict=True)})
    return folder


def parts_of(manifest: Manifest | Listed, parts: int) -> list[list[str]]:
    """The names of the utterances of each part."""
    bounds = [manifest.bounds(index, parts) for index in range(1, parts + 1)]
    return [[u.utt for u in manifest.utterances(first, after)] for first, after in bounds]


@pytest.mark.parametrize("parts", [1, 2, 3, 7, 40, 100])
def test_parts_are_disjoint_and_together_everything_in_order(tmp_path, parts) -> None:
    durations = np.random.default_rng(0).uniform(0.5, 20, 40)
    manifest = Manifest(make(tmp_path / "data", list(durations)))
    found = parts_of(manifest, parts)
    assert list(itertools.chain(*found)) == [u.utt for u in read_utterances(tmp_path / "data")]
    lengths = dict(zip(itertools.chain(*found), durations.round(4), strict=True))
    if parts < 10:
        sums = [sum(lengths[utt] for utt in part) for part in found]
        assert max(sums) - min(sums) < 20  # no more than the longest utterance


def test_without_durations_parts_have_the_same_number_of_utterances(tmp_path) -> None:
    assert [len(part) for part in parts_of(Manifest(make(tmp_path / "data", None)), 4)] == [10] * 4
    assert [len(part) for part in parts_of(Listed([Utterance(str(n), Path(), "s") for n in range(10)]), 4)] == [
        2,
        3,
        2,
        3,
    ]


def test_a_long_utterance_may_leave_parts_empty(tmp_path) -> None:
    found = parts_of(Manifest(make(tmp_path / "data", [1000.0] + [1.0] * 39)), 4)
    assert [len(part) for part in found].count(0) == 2
    assert sum(map(len, found)) == 40


def test_segments_give_the_durations_if_there_is_no_utt2dur(tmp_path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "wav.scp").write_text("r r.wav\n")
    (folder / "segments").write_text("a r 0 10\nb r 10 11\nc r 11 12\nd r 12 20\n")
    (folder / "utt2spk").write_text("a s\nb s\nc s\nd s\n")
    assert parts_of(Manifest(folder), 2) == [["a"], ["b", "c", "d"]]
    assert next(Manifest(folder).utterances(2)) == Utterance("c", Path("r.wav"), "s", 11.0, 12.0)


def test_a_stream_equals_the_list_also_with_odd_names(tmp_path) -> None:
    utterances = [Utterance(name, tmp_path / f"ä {name}.wav", "sprécher") for name in ("a", "b!", "é", "日本")]
    write_utterances(tmp_path / "data", utterances)
    assert list(Manifest(tmp_path / "data").utterances()) == utterances
    assert len(Manifest(tmp_path / "data")) == 4


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("wav.scp", "s1-b", "s1-a", "wav.scp:2: duplicate 's1-a'"),
        ("utt2spk", "s1-b s1\n", "", "lacks 's1-b'"),
        ("wav.scp", "s1-b", "s0-b", "wav.scp:2: 's0-b' after 's1-a'"),
        ("utt2spk", "s1-b s1", "s1-b", "utt2spk:2: 's1-b' has no value"),
    ],
)
def test_what_is_wrong_is_said_when_the_stream_comes_to_it(tmp_path, name, old, new, message) -> None:
    data = datadirs.make(tmp_path)
    datadirs.edit(data / name, old, new)
    stream = Manifest(data).utterances()
    assert next(stream).utt == "s1-a"
    with pytest.raises(UserError, match=message):
        list(stream)


def test_durations_of_other_utterances_are_refused(tmp_path) -> None:
    data = make(tmp_path / "data", [1.0] * 40)
    write_table(data / "utt2dur", {"s0-000": "1", "x": "2"})
    with pytest.raises(UserError, match=r"utt2dur: has 'x 2' where wav.scp has 's0-003'; repair it or remove it"):
        Manifest(data).bounds(1, 2)
