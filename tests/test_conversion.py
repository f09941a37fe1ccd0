"""Units to and from the files of other tools: nothing is lost, nothing is guessed, bad lines are named."""

import dataclasses
import json
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import reference
from tests.tiny_model import save_tiny_model
from tests.unit_makers import files_of, unit_directories
from vqaudio.cli import main
from vqaudio.defaults import UNIT_FORMATS
from vqaudio.errors import UserError
from vqaudio.units import UnitsInfo, read_units
from vqaudio.units.conversion import convert
from vqaudio.units.formats import READERS
from vqaudio.units.writer import write_units

FORMATS = ["fairseq", "gslm", "jsonl", "espnet"]
"""Those that hold groups too."""
INFO = UnitsInfo(16000, 160, 100.0, 256, 1, False, "a" * 64, "0.0.9")
HUBERT = UnitsInfo.of(sample_rate=16000, hop_length=320, codebook_size=100, groups=1)


def test_the_command_line_knows_every_format():
    assert ("vqaudio", *READERS) == UNIT_FORMATS


@pytest.mark.parametrize("kind", FORMATS)
@given(unit_directories())
@settings(max_examples=40, deadline=None)
def test_a_unit_directory_comes_back_byte_by_byte(tmp_path_factory, kind, directory):
    folder = tmp_path_factory.mktemp("round")
    write_units(folder / "units", *directory)
    convert(folder / "units", folder / "other", to=kind)
    convert(folder / "other", folder / "back", to="vqaudio", from_=kind)
    assert files_of(folder / "back") == files_of(folder / "units")


@given(unit_directories(most_groups=1))
@settings(max_examples=40, deadline=None)
def test_units_of_one_group_come_back_byte_by_byte_from_discophon(tmp_path_factory, directory):
    folder = tmp_path_factory.mktemp("round")
    write_units(folder / "units", *directory)
    convert(folder / "units", folder / "other", to="discophon")
    convert(folder / "other", folder / "back", to="vqaudio", from_="discophon")
    assert files_of(folder / "back") == files_of(folder / "units")


@given(unit_directories(most_groups=1), st.permutations([*FORMATS, "discophon"]))
@settings(max_examples=25, deadline=None)
def test_a_chain_of_formats_loses_nothing_either(tmp_path_factory, directory, kinds):
    folder = tmp_path_factory.mktemp("chain")
    write_units(folder / "units", *directory)
    source, before = folder / "units", None
    for n, kind in enumerate(kinds):
        convert(source, folder / f"{n}", to=kind, from_=before)
        source, before = folder / f"{n}", kind
    convert(source, folder / "back", to="vqaudio", from_=before)
    assert files_of(folder / "back") == files_of(folder / "units")


@given(unit_directories())
@settings(max_examples=25, deadline=None)
def test_a_unit_directory_comes_back_byte_by_byte_from_parquet(tmp_path_factory, directory):
    pytest.importorskip("pyarrow", reason="pyarrow not installed: pip install 'vqaudio[parquet]'")
    folder = tmp_path_factory.mktemp("parquet")
    write_units(folder / "units", *directory)
    convert(folder / "units", folder / "other.parquet", to="parquet")
    convert(folder / "other.parquet", folder / "back", to="vqaudio")
    assert files_of(folder / "back") == files_of(folder / "units")


def test_parquet_has_a_row_for_each_utterance_that_data_frames_read(units, tmp_path, monkeypatch):
    pa = pytest.importorskip("pyarrow", reason="pyarrow not installed: pip install 'vqaudio[parquet]'")
    from pyarrow.parquet import ParquetFile, write_table

    from vqaudio.units import parquet

    monkeypatch.setattr(parquet, "ROWS", 1)
    convert(units, tmp_path / "u.parquet", to="parquet")
    file = ParquetFile(tmp_path / "u.parquet")
    assert file.num_row_groups == 2  # written as it comes
    assert file.read().to_pylist() == [
        {"utt": "a.b", "units": [[71, 3], [12, 40]], "frames": 3, "durations": [2, 1]},
        {"utt": "é", "units": [[12, 40]], "frames": 1, "durations": [1]},
    ]
    for rows, message in (
        ({"utt": ["a b"], "units": [[1]]}, "row 1: utt is 'a b', which cannot be"),
        ({"utt": ["a"], "units": [[256]]}, "row 1: a has no units, or some outside the codebook of 256"),
        ({"utt": ["a"], "units": [[]]}, "row 1: a has no units"),
        ({"utt": ["a"], "units": [[1, 2]], "durations": [[1]]}, "row 1: a does not have a duration"),
        ({"utt": ["a"], "codes": [[1]]}, "has no columns utt and units"),
    ):
        write_table(pa.table(rows), tmp_path / "bad.parquet")
        with pytest.raises(UserError, match=message):
            convert(tmp_path / "bad.parquet", tmp_path / "bad", to="vqaudio", settings=INFO)
    (tmp_path / "bad.parquet").write_bytes(b"PAR1")
    with pytest.raises(UserError, match=r"bad.parquet: cannot be read as Parquet"):
        convert(tmp_path / "bad.parquet", tmp_path / "bad", to="vqaudio", settings=INFO)


def test_hashes_of_audio_come_back_too(units, tmp_path):
    (units / "utt2sha256").write_text(f"a.b {'0' * 64}\n")
    convert(units, tmp_path / "u.jsonl", to="jsonl")
    convert(tmp_path / "u.jsonl", tmp_path / "back", to="vqaudio")
    assert files_of(tmp_path / "back") == files_of(units)


@pytest.fixture
def units(tmp_path):
    """Two utterances of two groups, deduplicated."""
    info = UnitsInfo(16000, 160, 100.0, 256, 2, True, "a" * 64, "0.0.9")
    codes = np.array([[71, 71, 12], [3, 3, 40]])
    write_units(tmp_path / "units", info, [("a.b", codes), ("é", codes[:, 2:])], [("x", "broken")])
    return tmp_path / "units"


def test_each_file_has_the_layout_of_its_tool(units, tmp_path):
    for kind in FORMATS:
        convert(units, tmp_path / kind, to=kind)
    assert (tmp_path / "fairseq.tsv").read_text() == ".\na.b.wav\t480\né.wav\t160\n"
    assert (tmp_path / "fairseq.km").read_text() == "71-3 12-40\n12-40\n"
    assert (tmp_path / "gslm").read_text() == "a.b|71-3 12-40\né|12-40\n"
    assert (tmp_path / "espnet").read_text() == "a.b 71-3 12-40\né 12-40\n"
    assert [json.loads(line) for line in (tmp_path / "jsonl").read_text().splitlines()] == [
        {"audio": "a.b.wav", "units": [[71, 3], [12, 40]], "durations": [2, 1]},
        {"audio": "é.wav", "units": [[12, 40]], "durations": [1]},
    ]
    for kind in FORMATS:
        assert (tmp_path / f"{kind}.units.json").read_bytes() == (units / "units.json").read_bytes()
        assert (tmp_path / f"{kind}.failed.txt").read_text() == "x\tbroken\n"
        assert (tmp_path / f"{kind}.durations.txt").exists() == (kind != "jsonl")


def test_one_group_is_a_flat_list_of_json(tmp_path):
    write_units(tmp_path / "units", INFO, [("a", np.array([[7, 7]]))], [])
    convert(tmp_path / "units", tmp_path / "a.jsonl", to="jsonl")
    assert json.loads((tmp_path / "a.jsonl").read_text()) == {"audio": "a.wav", "units": [7, 7]}


def test_discophon_gets_the_id_and_a_unit_for_each_frame_even_of_deduplicated_units(tmp_path):
    info = dataclasses.replace(INFO, deduplicated=True)
    write_units(tmp_path / "units", info, [("a.b", np.array([[7, 7, 2]])), ("é", np.array([[2]]))], [])
    convert(tmp_path / "units", tmp_path / "a.jsonl", to="discophon")
    assert [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()] == [
        {"file": "a.b", "units": [7, 7, 2]},
        {"file": "é", "units": [2]},
    ]
    assert not (tmp_path / "a.jsonl.durations.txt").exists()


def test_discophon_has_no_groups_and_says_so(units, tmp_path):
    with pytest.raises(UserError, match="its 2 groups cannot be written as discophon; choose jsonl"):
        convert(units, tmp_path / "a.jsonl", to="discophon")
    assert [path.name for path in tmp_path.iterdir()] == ["units"]


def test_a_later_conversion_leaves_nothing_of_an_earlier_one_beside_it(units, tmp_path):
    convert(units, tmp_path / "a.txt", to="gslm")
    write_units(tmp_path / "other", INFO, [("a", np.array([[7, 7]]))], [])
    convert(tmp_path / "other", tmp_path / "a.txt", to="gslm")
    assert sorted(path.name for path in tmp_path.glob("a.txt*")) == ["a.txt", "a.txt.units.json"]


FOREIGN = {
    "gslm": ("a.txt", "vclaf|1 1 2\nb-channel1|3 3\n", {"vclaf": [1, 1, 2], "b-channel1": [3, 3]}),
    "textlesslib": ("a.units", "b\t3 3\r\na|x\t1\r\n", {"b": [3, 3], "a|x": [1]}),
    "espnet": ("text.km", "a 1 1  2 \nb\t3\n", {"a": [1, 1, 2], "b": [3]}),
    "jsonl": (
        "a.jsonl",
        '{"audio": "/x/My Corpus/alpha.flac", "units": [1, 1]}\n{"units": [2], "audio": "b.c", "text": 0}',
        {"alpha": [1, 1], "b.c": [2]},
    ),
    "discophon": (
        "a.jsonl",
        '{"units": [1, 1], "file": "x/alpha.wav", "n": 0}\n{"file": "b", "units": [2]}',
        {"x/alpha.wav": [1, 1], "b": [2]},
    ),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_files_as_other_tools_write_them_are_read(tmp_path, kind):
    name, text, expected = FOREIGN[kind]
    (tmp_path / name).write_bytes(text.encode())
    from_ = "gslm" if kind == "textlesslib" else kind
    info = convert(tmp_path / name, tmp_path / "units", to="vqaudio", from_=from_, settings=HUBERT)
    found = read_units(tmp_path / "units")
    assert {sequence.utt: sequence.codes[0].tolist() for sequence in found} == expected
    assert (info.model_hash, info.frame_rate, info.deduplicated) == ("", 50.0, False)


def test_paths_lose_their_suffix_as_a_whole_and_no_letter_of_their_name(tmp_path):
    paths = ["19/198/alpha.flac", "lac.flac", "x/vclaf.FLAC", "p225_001.wav", "a.b", "c.d.flac", "flac", ".flac"]
    (tmp_path / "t.tsv").write_text("/corpus/My Speech\n" + "".join(f"{path}\t16000\n" for path in paths))
    (tmp_path / "t.km").write_text("".join(f"{n} {n}\n" for n in range(len(paths))))
    convert(tmp_path / "t.tsv", tmp_path / "units", to="vqaudio", settings=HUBERT)
    found = {sequence.utt: int(sequence.codes[0, 0]) for sequence in read_units(tmp_path / "units")}
    assert found == {reference.name_of_audio(path): n for n, path in enumerate(paths)}
    assert "alpha" in found
    assert "alph" not in found


@pytest.mark.parametrize("source", ["t", "t.tsv", "t.km"])
def test_the_format_is_told_by_the_name_where_it_can_be(units, tmp_path, source):
    convert(units, tmp_path / source, to="fairseq")
    convert(tmp_path / source, tmp_path / "t.jsonl", to="jsonl")
    convert(tmp_path / "t.jsonl", tmp_path / "back", to="vqaudio")
    assert files_of(tmp_path / "back") == files_of(units)


def test_durations_of_other_tools_make_deduplicated_units(tmp_path):
    (tmp_path / "a.units").write_text("b\t3 4\na\t1\n")
    (tmp_path / "a.durations").write_text("a\t2\nb\t1 3\n")
    arguments = {"to": "vqaudio", "from_": "gslm", "settings": HUBERT}
    convert(tmp_path / "a.units", tmp_path / "units", **arguments, durations=tmp_path / "a.durations")
    found = {sequence.utt: sequence.codes[0].tolist() for sequence in read_units(tmp_path / "units")}
    assert found == {"a": [1, 1], "b": [3, 4, 4, 4]}
    (tmp_path / "a.durations").write_text("a\t2\nb\t1\n")
    with pytest.raises(UserError, match=r"a\.durations:2: b: 1 durations for 2 units"):
        convert(tmp_path / "a.units", tmp_path / "u2", **arguments, durations=tmp_path / "a.durations")
    (tmp_path / "a.durations").write_text("a\t2\n")
    with pytest.raises(UserError, match=r"a\.durations: has no durations of b"):
        convert(tmp_path / "a.units", tmp_path / "u2", **arguments, durations=tmp_path / "a.durations")


def test_units_that_look_deduplicated_are_a_warning(tmp_path, capsys):
    for text, warned in (("a|1 2\nb|2 3\n", True), ("a|1 2\nb|3 3\n", False)):
        (tmp_path / "a.txt").write_text(text)
        convert(
            tmp_path / "a.txt",
            tmp_path / text[2:].strip().replace("\n", "_"),
            to="vqaudio",
            from_="gslm",
            settings=HUBERT,
        )
        assert ("pass --durations" in capsys.readouterr().err) == warned


BAD = {
    "gslm": [
        ("a|1\nb 1\n", r"a\.txt:2: no '\|'"),
        ("a|1\nb|\n", r"a\.txt:2: b has no units"),
        ("a|1\n\n", r"a\.txt:2: no '\|'"),
        ("a|1\n|1\n", r"a\.txt:2: '' cannot be an utterance id"),
        ("a|1\nb c|1\n", r"a\.txt:2: 'b c' cannot be"),
        ("a|1 x\n", r"a\.txt:1: a: 'x' is not a number; correct the line"),
        ("a|1 100\n", r"a\.txt:1: a: unit 100 lies outside the codebook of 100"),
        ("a|-1\n", r"a\.txt:1: a: '-1' is not a number"),
        ("a|1-2\n", r"a\.txt:1: a: '1-2' is not a number"),
        ("a|1\nb|1\na|1\n", r"a\.txt: utterances 1 and 3 are both named a"),
        ("\udcff|1\n", r"a\.txt:1: the name is not UTF-8"),
        ("", r"a\.txt: contains no units"),
    ],
    "jsonl": [
        ("[]\n", r'a\.txt:1: not an object with "audio" and "units"'),
        ('{"audio": "a"}\n', r'a\.txt:1: not an object with "audio" and "units"'),
        ('{"audio": "a", "units": [1]\n', r"a\.txt:1: not an object"),
        ('{"audio": 3, "units": [1]}\n', r'a\.txt:1: "audio" is not a string'),
        ('{"audio": "a", "units": [1.0]}\n', r'a\.txt:1: a: "units" is not a list of whole numbers'),
        ('{"audio": "a", "units": [true]}\n', r'a\.txt:1: a: "units" is not a list'),
        ('{"audio": "a", "units": "1 2"}\n', r'a\.txt:1: a: "units" is not a list'),
        ('{"audio": "a", "units": []}\n', r"a\.txt:1: a has no units"),
        ('{"audio": "a", "units": [[1, 2]]}\n', r"a\.txt:1: a: '1-2' is not a number"),
        ('{"audio": "a", "units": [1], "durations": [0]}\n', r"a\.txt:1: duration '0' is not"),
        (
            '{"audio": "a", "units": [1], "durations": [1]}\n{"audio": "b", "units": [1]}\n',
            "give them for all or for none",
        ),
        ('{"audio": "\\ud800", "units": [1]}\n', r"a\.txt:1: the name is not UTF-8"),
        ("[" * 100000 + "\n", r"a\.txt:1: not an object"),
    ],
    "discophon": [
        (
            '{"audio": "a", "units": [1]}\n',
            r'a\.txt:1: not an object with "file" and "units"; correct the line, or give',
        ),
        ('{"file": "a", "units": [1]}\n{"file": null, "units": [1]}\n', r'a\.txt:2: "file" is not a string'),
        ('{"file": "a b", "units": [1]}\n', r"a\.txt:1: 'a b' cannot be an utterance id"),
        ('{"file": "a", "units": [[1, 2]]}\n', r"a\.txt:1: a: '1-2' is not a number"),
        ('{"file": "a", "units": [1]}\n{"file": "a", "units": [1]}\n', "utterances 1 and 2 are both named a"),
        ("[" * 100000 + "\n", r"a\.txt:1: not an object"),
    ],
    "espnet": [("a 1\nb\n", r"a\.txt:2: b has no units"), (" 1\n", r"a\.txt:1: '' cannot be an utterance id")],
}


@pytest.mark.parametrize(("kind", "text", "message"), [(kind, *case) for kind, cases in BAD.items() for case in cases])
def test_a_bad_line_is_named_and_nothing_is_written(tmp_path, kind, text, message):
    (tmp_path / "a.txt").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(UserError, match=message) as caught:
        convert(tmp_path / "a.txt", tmp_path / "units", to="vqaudio", from_=kind, settings=HUBERT)
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.parametrize(
    ("tsv", "km", "message"),
    [
        ("/r\na.wav\t9\nb.wav\t9\n", "1\n", r"t\.km:2: ends where .*t\.tsv has b"),
        ("/r\na.wav\t9\n", "1\n2\n", r"t\.km:2: has no path in"),
        ("", "1\n", r"t\.tsv: is empty"),
        ("/r\nx/a.wav\t9\nx/a.flac\t9\n", "1\n2\n", "utterances 1 and 2 are both named a"),
        ("/r\nx/a.wav\t9\ny/a.wav\t9\nx/a.wav\t9\n", "1\n2\n3\n", "utterances 1 and 3 are both named x/a"),
        ("/r\na.wav\t9\n", "1 200\n", r"t\.km:1: a: unit 200 lies outside"),
    ],
)
def test_manifest_and_labels_must_agree(tmp_path, tsv, km, message):
    (tmp_path / "t.tsv").write_text(tsv)
    (tmp_path / "t.km").write_text(km)
    with pytest.raises(UserError, match=message):
        convert(tmp_path / "t.km", tmp_path / "units", to="vqaudio", settings=HUBERT)
    assert not (tmp_path / "units").exists()


def test_what_a_file_does_not_say_must_be_given(tmp_path, capsys):
    (tmp_path / "a.jsonl").write_text('{"audio": "a", "units": [1, 1]}\n')
    argv = ["units", "convert", str(tmp_path / "a.jsonl"), str(tmp_path / "units"), "--to", "vqaudio"]
    assert main(argv) == 2
    assert "give --sample-rate, --hop-length and --codebook-size, or --model" in capsys.readouterr().err
    assert main([*argv, "--sample-rate", "16000", "--groups", "1"]) == 2
    assert "give all of" in capsys.readouterr().err
    assert main([*argv, "--sample-rate", "16000", "--hop-length", "320", "--codebook-size", "2"]) == 0
    assert read_units(tmp_path / "units").info.groups == 1


def test_what_stands_beside_a_file_may_not_be_contradicted(units, tmp_path):
    convert(units, tmp_path / "a.txt", to="gslm")
    with pytest.raises(
        UserError, match=r"a\.txt\.units\.json: contradicts the options, whose hop_length is 320, not 160"
    ):
        convert(tmp_path / "a.txt", tmp_path / "b", to="vqaudio", from_="gslm", settings=HUBERT)
    convert(
        tmp_path / "a.txt",
        tmp_path / "b",
        to="vqaudio",
        from_="gslm",
        settings=dataclasses.replace(INFO, groups=2, model_hash=""),
    )
    assert files_of(tmp_path / "b") == files_of(units)


def test_lost_durations_are_an_error(units, tmp_path):
    for kind, name in (("gslm", "a.txt.durations.txt"), ("jsonl", "b.txt")):
        out = tmp_path / name[:5]
        convert(units, out, to=kind)
        path = tmp_path / name
        text = re.sub(r', "durations": \[[^]]*\]', "", path.read_text())
        path.unlink()
        if kind == "jsonl":
            path.write_text(text)
        with pytest.raises(UserError, match=r"durations\.txt: cannot be read|deduplicated is True"):
            convert(out, tmp_path / "back", to="vqaudio", from_=kind)


def test_nothing_is_overwritten_and_nothing_guessed(units, tmp_path):
    convert(units, tmp_path / "a.txt", to="gslm")
    for source, arguments, message in [
        (tmp_path / "a.txt", {"to": "vqaudio", "from_": "gslm"}, "exists; choose another place"),
        (tmp_path / "a.txt", {"to": "vqaudio"}, r"its format cannot be inferred; give --from fairseq\|gslm"),
        (units, {"to": "vqaudio"}, "is already a unit directory"),
        (units, {"to": "gslm", "settings": HUBERT}, "already records its settings"),
        (tmp_path / "missing", {"to": "gslm"}, "no such file or folder"),
    ]:
        with pytest.raises(UserError, match=message):
            convert(source, units, **arguments)


def test_an_id_that_would_break_a_line_is_refused(tmp_path):
    write_units(tmp_path / "units", INFO, [("a\tb", np.array([[7, 7]]))], [])
    for kind in FORMATS:
        with pytest.raises(UserError, match=rf"'a\\tb' cannot be written as {kind}"):
            convert(tmp_path / "units", tmp_path / "out" / kind, to=kind)
    assert not list((tmp_path / "out").iterdir())


def test_units_of_an_unknown_model_are_decoded_only_when_a_model_vouches_for_them(tmp_path, capsys):
    model = save_tiny_model(tmp_path / "exp")
    (tmp_path / "a.txt").write_text("a|1 1 2\n")
    argv = ["units", "convert", str(tmp_path / "a.txt")]
    options = ["--from", "gslm", "--to", "vqaudio"]
    assert main([*argv, str(tmp_path / "mine"), *options, "--model", str(model)]) == 0
    vouched = read_units(tmp_path / "mine").info
    numbers = ["--sample-rate", str(vouched.sample_rate), "--hop-length", str(vouched.hop_length)]
    numbers += ["--codebook-size", str(vouched.codebook_size), "--groups", str(vouched.groups)]
    assert main([*argv, str(tmp_path / "unknown"), *options, *numbers]) == 0
    info = read_units(tmp_path / "unknown").info
    assert info.difference(vouched) is not None
    decode = ["decode", "--model", str(model), "--out", str(tmp_path / "wav"), "--jobs", "1", "--units"]
    capsys.readouterr()
    assert main([*decode, str(tmp_path / "unknown")]) == 2
    assert "belong to model unknown (if this one made them, convert them again with --model)" in capsys.readouterr().err
    assert main([*decode, str(tmp_path / "mine")]) == 0
    assert main([*argv, "x", *options, "--model", str(model), "--groups", "1"]) == 2


PATHS = [
    "/c/spk1/001.wav",
    "/c/spk2/001.flac",
    "/c/spk2/s/001.wav",
    "/c/spk1/002.wav",
    "/c/x/s/003.wav",
    "/c/y/s/003.wav",
]
IDS = ["002", "spk1/001", "spk2/001", "spk2/s/001", "x/s/003", "y/s/003"]


@pytest.mark.parametrize("kind", ["fairseq", "jsonl"])
@pytest.mark.parametrize("top", ["/c/", ""])
def test_folders_stay_in_the_ids_where_last_parts_of_paths_are_equal(tmp_path, kind, top):
    paths = [path.replace("/c/", top, 1) for path in PATHS]
    if kind == "fairseq":
        (tmp_path / "a.tsv").write_text("/r\n" + "".join(f"{path}\t960\n" for path in paths))
        (tmp_path / "a.km").write_text("".join(f"{n} {n} {n}\n" for n in range(6)))
    else:
        lines = [json.dumps({"audio": path, "units": [n] * 3}) + "\n" for n, path in enumerate(paths)]
        (tmp_path / "a.jsonl").write_text("".join(lines))
    source = tmp_path / ("a.tsv" if kind == "fairseq" else "a.jsonl")
    convert(source, tmp_path / "units", to="vqaudio", settings=HUBERT)
    found = {utterance.utt: int(utterance.units[0, 0]) for utterance in read_units(tmp_path / "units")}
    assert sorted(found) == IDS
    assert [found[utt] for utt in ("spk1/001", "spk2/001", "spk2/s/001", "002")] == [0, 1, 2, 3]
    convert(tmp_path / "units", tmp_path / "b", to=kind)
    convert(tmp_path / "b", tmp_path / "again", to="vqaudio", from_=kind)
    assert files_of(tmp_path / "again") == files_of(tmp_path / "units")
