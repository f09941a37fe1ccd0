"""Unit directories: what is written is read back, and nothing else is accepted."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import deduplicate_slowly

import vqaudio
from vqaudio.errors import UserError
from vqaudio.units import UnitsInfo, deduplicate, expand, read_units
from vqaudio.units.writer import UnitWriter, write_units

INFO = UnitsInfo(16000, 160, 100.0, 256, 1, False, "a" * 64, "0.1.0")


def settings_of(**changes: object) -> UnitsInfo:
    return UnitsInfo(**{**INFO.__dict__, **changes})


def codes_of(*frames: int) -> np.ndarray:
    return np.array([frames], dtype=np.int64)


ids = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zs"]), min_size=1, max_size=8)


@st.composite
def corpora(draw: st.DrawFn) -> tuple[UnitsInfo, dict[str, np.ndarray]]:
    groups, size = draw(st.integers(1, 3)), draw(st.integers(1, 4))
    frame = st.lists(st.integers(0, size - 1), min_size=groups, max_size=groups)
    codes = st.lists(frame, min_size=1, max_size=9).map(lambda frames: np.array(frames, dtype=np.int64).T)
    corpus = draw(st.dictionaries(ids, codes, min_size=1, max_size=4))
    return settings_of(groups=groups, codebook_size=size, deduplicated=draw(st.booleans())), corpus


@given(corpora())
@settings(max_examples=60, deadline=None)
def test_a_round_trip_through_a_unit_directory_loses_nothing(tmp_path_factory, corpus):
    info, codes = corpus
    folder = tmp_path_factory.mktemp("units")
    with UnitWriter(folder, info) as writer:
        for utt, value in codes.items():  # in any order
            writer.write(utt, value)
        writer.finish({})
    units = read_units(folder, expected_hash=info.model_hash)
    assert [sequence.utt for sequence in units] == sorted(codes, key=str.encode)
    for sequence in units:
        np.testing.assert_array_equal(sequence.codes, codes[sequence.utt])
        assert sequence.codes.dtype == np.int64
    assert (units.info.num_utterances, units.info.num_frames) == (len(codes), sum(c.shape[1] for c in codes.values()))
    assert not (folder / "journal.txt").exists()


@settings(deadline=None)
@given(st.integers(1, 3).flatmap(lambda g: st.lists(st.tuples(*[st.integers(0, 2)] * g), min_size=1, max_size=30)))
def test_deduplicate_equals_the_naive_one_and_expand_undoes_it(frames):
    codes = np.array(frames, dtype=np.int64).T
    units, durations = deduplicate(codes)
    naive = deduplicate_slowly(frames)
    assert [tuple(column) for column in units.T.tolist()] == [frame for frame, _ in naive]
    assert durations.tolist() == [length for _, length in naive]
    np.testing.assert_array_equal(expand(units, durations), codes)


def test_the_files_are_those_of_the_format(tmp_path):
    info = settings_of(groups=2, deduplicated=True)
    codes = np.array([[71, 71, 12], [3, 3, 40]])
    write_units(tmp_path, info, [("a", codes), ("é", codes[:, 2:])], [("b", "broken\nfile\there")])
    assert (tmp_path / "units.txt").read_bytes().decode() == "a 71-3 12-40\né 12-40\n"
    assert (tmp_path / "durations.txt").read_bytes().decode() == "a 2 1\né 1\n"
    assert (tmp_path / "utt2num_units").read_bytes().decode() == "a 2\né 1\n"
    assert (tmp_path / "failed.txt").read_text() == "b\tbroken file here\n"
    written = json.loads((tmp_path / "units.json").read_text())
    assert written == {**info.__dict__, "num_utterances": 2, "num_frames": 4}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    info = settings_of(deduplicated=True)
    write_units(tmp_path, info, [("a", codes_of(1, 1, 2)), ("b", codes_of(255, 0))], [])
    return tmp_path


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


DAMAGE = [
    ("units.txt", "b 255", "b 256", r"units.txt:2: b: unit 256 lies outside the codebook of 256"),
    ("units.txt", "b 255", "b -1", r"units.txt:2: b: '-1' is not a number"),
    ("units.txt", "b 255", "b 25.5", r"units.txt:2: b: '25.5' is not a number"),
    ("units.txt", "b 255", "b 3-255", r"units.txt:2: b: '3-255' is not a number"),
    ("units.txt", "b 255 0", "b", r"units.txt:2: b has no units"),
    ("units.txt", "b 255 0\n", "b 255 0", r"units.txt:2: the line is cut off"),
    ("units.txt", "b 255", "a 255", r"units.txt:2: a occurs twice"),
    ("units.txt", "a 1 2\nb 255 0\n", "b 255 0\na 1 2\n", r"utt2num_units:1: has a where another file has b"),
    ("units.txt", "a 1 2\n", "a 1 2\n\n", r"units.txt:2: the line is cut off"),
    ("units.txt", "b 255 0\n", "", r"units.txt:2: ends where another file has b"),
    ("utt2num_units", "b 2", "b 3", r"utt2num_units:2: '3' units, but units.txt holds 2"),
    ("utt2num_units", "b 2\n", "", r"utt2num_units:2: ends where another file has b"),
    ("durations.txt", "a 2 1", "a 2", r"durations.txt:1: 1 durations for 2 units"),
    ("durations.txt", "a 2 1", "a 0 1", r"durations.txt:1: duration '0' is not"),
    ("durations.txt", "a 2 1", "a 3 1", r"units.json: num_frames is 5, but units.txt holds 6"),
    ("units.json", '"num_utterances": 2', '"num_utterances": 3', r"num_utterances is 3, but units.txt holds 2"),
    ("units.json", '"groups": 1', '"groups": 2', r"units.txt:1: a: '1' is not 2 numbers joined by '-'"),
    ("units.json", '"codebook_size": 256', '"codebook_size": "many"', r"units.json: codebook_size is 'many'"),
    ("units.json", '"deduplicated": true', '"deduplicated": 1', r"units.json: deduplicated is 1"),
    ("units.json", '"change_penalty": 0.0', '"change_penalty": -0.5', r"units.json: change_penalty is -0.5, not 0 or"),
    ("units.json", '"change_penalty": 0.0', '"change_penalty": NaN', r"units.json: change_penalty is nan, not 0 or"),
    ("units.json", '"change_penalty": 0.0', '"change_penalty": 1e999', r"units.json: change_penalty is inf, not 0 or"),
    ("units.json", '"change_penalty": 0.0', '"change_penalty": "a"', r"units.json: change_penalty is 'a'; extract"),
    ("units.json", '"groups": 1', '"group": 1', r"units.json: must be an object with the keys"),
    ("units.json", "}", "", r"units.json: not JSON"),
    (
        "units.json",
        '"frame_rate": 100.0',
        '"frame_rate": NaN',
        r"frame_rate is nan, but sample_rate / hop_length is 100",
    ),
    ("units.json", '"frame_rate": 100.0', '"frame_rate": Infinity', r"units.json: frame_rate is inf, but"),
    ("units.json", '"frame_rate": 100.0', '"frame_rate": -1e999', r"units.json: frame_rate is -inf"),
    ("units.json", '"frame_rate": 100.0', '"frame_rate": 7', r"units.json: frame_rate is 7, but"),
    ("units.json", '"sample_rate": 16000', '"sample_rate": 1' + "0" * 400, r"units.json: sample_rate is 10"),
    (
        "units.json",
        '"hop_length": 160',
        '"hop_length": 320',
        r"frame_rate is 100.0, but sample_rate / hop_length is 50",
    ),
]


@pytest.mark.parametrize(("name", "old", "new", "message"), DAMAGE)
def test_a_damaged_unit_directory_is_refused_in_one_line(folder, name, old, new, message):
    read_units(folder)
    edit(folder / name, old, new)
    with pytest.raises(UserError, match=message) as caught:
        read_units(folder)
    assert "\n" not in str(caught.value)


def test_frame_rate_and_version_are_derived_in_one_place():
    info = UnitsInfo.of(sample_rate=22050, hop_length=441, codebook_size=8, groups=2, deduplicated=True, model_hash="a")
    assert info == UnitsInfo(22050, 441, 50.0, 8, 2, True, "a", vqaudio.__version__)


def test_units_of_versions_that_knew_no_penalty_have_none(folder):
    edit(folder / "units.json", '  "change_penalty": 0.0,\n', "")
    assert read_units(folder).info.change_penalty == 0.0


def test_a_bottomless_units_json_is_refused_in_one_line(folder):
    (folder / "units.json").write_text("[" * 100000)
    with pytest.raises(UserError, match="not JSON"):
        read_units(folder)


def test_unsorted_keys_are_refused_even_when_all_files_agree(tmp_path):
    write_units(tmp_path, INFO, [("b", codes_of(1)), ("a", codes_of(2))], [])
    with pytest.raises(UserError, match=r"units.txt:2: a comes after b, not in the order of LC_ALL=C"):
        read_units(tmp_path)


def test_keys_that_are_not_utf8_are_refused(folder):
    for name in ("units.txt", "utt2num_units", "durations.txt"):
        (folder / name).write_bytes((folder / name).read_bytes().replace(b"b", b"\xff"))
    with pytest.raises(UserError, match=r"units.txt:2: the key is not UTF-8"):
        read_units(folder)


@pytest.mark.parametrize("name", ["units.json", "units.txt", "utt2num_units", "durations.txt"])
def test_a_missing_file_is_refused(folder, name):
    (folder / name).unlink()
    with pytest.raises(UserError, match=name):
        read_units(folder)


def test_units_of_another_model_are_refused(folder):
    with pytest.raises(UserError, match=r"belong to model aaaaaaaaaaaa, not bbbbbbbbbbbb"):
        read_units(folder, expected_hash="b" * 64)


def test_a_unit_directory_without_utterances_is_refused(tmp_path):
    write_units(tmp_path, INFO, [], [("a", "broken")])
    with pytest.raises(UserError, match=r"no utterances; see failed\.txt"):
        read_units(tmp_path)


def test_a_killed_writer_continues_after_its_last_complete_line(tmp_path):
    with UnitWriter(tmp_path, INFO) as writer:
        writer.write("b", codes_of(1, 2))
        writer.write("a", codes_of(3))
    with (tmp_path / "journal.txt").open("ab") as file:
        file.write(b"c 1 2 3")  # torn: the 3 may have been a 37
    with UnitWriter(tmp_path, INFO) as writer:
        assert writer.offsets.keys() == {"a", "b"}
        writer.write("c", codes_of(37))
        writer.finish({})
    assert (tmp_path / "units.txt").read_text() == "a 3\nb 1 2\nc 37\n"


def test_a_finished_directory_takes_more_utterances(tmp_path):
    write_units(
        tmp_path, settings_of(deduplicated=True), [("a", codes_of(1, 1)), ("c", codes_of(2))], [("b", "broken")]
    )
    with UnitWriter(tmp_path, settings_of(deduplicated=True)) as writer:
        assert writer.offsets.keys() == {"a", "c"}
        writer.write("b", codes_of(5, 5, 5))
        writer.finish({})
    assert {s.utt: s.codes.tolist() for s in read_units(tmp_path)} == {"a": [[1, 1]], "b": [[5, 5, 5]], "c": [[2]]}
    assert (tmp_path / "failed.txt").read_text() == ""


@pytest.mark.parametrize("finished", [True, False])
def test_a_writer_refuses_units_of_other_settings(tmp_path, finished):
    with UnitWriter(tmp_path, INFO) as writer:
        writer.write("a", codes_of(1))
        if finished:
            writer.finish({})
    with pytest.raises(UserError, match="model_hash is aaaaaaaaaaaa, not cccccccccccc"):
        UnitWriter(tmp_path, settings_of(model_hash="c" * 64))


def test_a_writer_refuses_units_of_unknown_origin(tmp_path):
    (tmp_path / "units.txt").write_text("a 1 2\n")
    with pytest.raises(UserError, match=r"holds units\.txt, and no \.vqaudio says that vqaudio made this folder"):
        UnitWriter(tmp_path, INFO)
