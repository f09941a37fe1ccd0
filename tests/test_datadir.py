"""Tables, utterances and alignments of data directories."""

import contextlib
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from vqaudio import audio, datadir
from vqaudio.datadir import Phone, Utterance
from vqaudio.errors import UserError

no_breaks = st.characters(exclude_categories=["Cs", "Cc"])
keys = st.text(no_breaks, min_size=1, max_size=8).filter(lambda key: not any(c.isspace() for c in key))
values = st.text(no_breaks, max_size=20).map(lambda value: value.strip(" "))


@pytest.fixture(autouse=True, scope="module")
def _no_fsync():
    """Write without waiting for the disk: hundreds of files are written here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda descriptor: None)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """One folder for all the examples of a test."""
    return tmp_path_factory.mktemp("folder")


def table(folder: Path, content: str | bytes) -> Path:
    path = folder / "table"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def refusal(path: Path, **kwargs: str) -> str:
    """Return the message, which must be one line that names the file."""
    with pytest.raises(UserError) as caught:
        datadir.read_table(path, **kwargs)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@settings(deadline=None)
@given(st.dictionaries(keys, values))
def test_tables_survive_a_round_trip_in_byte_order(folder, mapping):
    path = folder / "text"
    datadir.write_table(path, mapping)
    assert datadir.read_table(path, what="") == mapping
    lines = path.read_bytes().splitlines(keepends=True)
    assert lines == sorted(lines, key=lambda line: line.rstrip(b"\n").split(b" ")[0])
    assert all(line.endswith(b"\n") for line in lines)


@settings(deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_are_a_table_or_a_user_error(folder, content):
    path = table(folder, content)
    for reader in (datadir.read_table, datadir.read_ctm):
        with contextlib.suppress(UserError):
            reader(path)


def test_values_keep_their_blanks_and_tabs_separate(tmp_path):
    path = table(tmp_path, "a\t/x/a  b.wav  \nb   /y\t.wav\n")
    assert datadir.read_table(path) == {"a": "/x/a  b.wav", "b": "/y\t.wav"}


@pytest.mark.parametrize(
    ("content", "line", "words"),
    [
        ("a 1\na 1\n", 2, "duplicate 'a', as on line 1"),
        ("a 1\na 2\n", 2, "duplicate 'a', contradicts line 1"),
        ("b 1\na 2\n", 2, "'a' after 'b'; sort"),
        ("é 1\nz 2\n", 2, "'z' after 'é'; sort"),
        (b"a 1\nb \xe9t\xe9\n", 2, "byte 0xe9 is not UTF-8"),
        ("a 1\r\n", 1, "carriage return"),
        ("a 1\0\n", 1, "control character"),
        ("a 1\n\nb 2\n", 2, "empty line"),
        (" a 1\n", 1, "starts with a blank"),
        ("a\n", 1, "'a' has no value; add a colour"),
        ("a\u00a0b 1\n", 1, "white space"),
        ("\ufeffa 1\n", 1, "byte order mark"),
    ],
)
def test_malformed_tables_are_refused_with_file_and_line(tmp_path, content, line, words):
    message = refusal(table(tmp_path, content), what="a colour")
    assert f"table:{line}: " in message
    assert words in message


def test_a_missing_table_and_a_folder_in_its_place_are_refused(tmp_path):
    assert "No such file" in refusal(tmp_path / "no")
    (tmp_path / "folder").mkdir()
    assert "directory" in refusal(tmp_path / "folder")


@pytest.mark.parametrize("bad", [{"a b": "1"}, {"": "1"}, {"a": "1\n2"}, {"a": " 1"}, {"a": "\udcff"}, {"\udcff": "1"}])
def test_what_would_not_read_back_is_not_written(tmp_path, bad):
    with pytest.raises(UserError, match="not written"):
        datadir.write_table(tmp_path / "table", bad)
    assert not list(tmp_path.iterdir())


times = st.floats(0, 1e6, allow_nan=False)


@settings(deadline=None)
@given(st.dictionaries(keys, st.lists(st.tuples(times, times, keys), min_size=1, max_size=4), max_size=4))
def test_alignments_survive_a_round_trip(folder, mapping):
    path = folder / "phones.ctm"
    phones = {utt: sorted((Phone(*p) for p in rows), key=lambda p: p.start) for utt, rows in mapping.items()}
    datadir.write_ctm(path, phones)
    assert datadir.read_ctm(path) == phones
    assert "e-" not in "".join(line.split()[2] for line in path.read_text(encoding="utf-8").split("\n") if line)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("a 1 0.0 0.1\n", "is not '<utt> 1 <start> <duration> <phone>'"),
        ("a 1 0.0 -0.1 AH\n", "is not '<utt>"),
        ("a 1 nan 0.1 AH\n", "is not '<utt>"),
        ("a 1 1_0 0.1 AH\n", "is not '<utt>"),
        ("a 1 0.2 0.1 AH\na 1 0.1 0.1 B\n", "'a' at 0.1 s is out of order"),
        ("a 1 0.2 0.1 AH\nb 1 0.1 0.1 B\na 1 0.5 0.1 B\n", "'a' at 0.5 s is out of order"),
    ],
)
def test_malformed_alignments_are_refused(tmp_path, content, words):
    with pytest.raises(UserError, match=words.replace("?", ".")):
        datadir.read_ctm(table(tmp_path, content))


def test_utterances_that_are_files_survive_a_round_trip(tmp_path):
    utterances = [Utterance(f"s{i}-a", Path(f"/x/with a space {i}.wav"), f"s{i}") for i in (1, 10, 2)]
    data = tmp_path / "new" / "data"
    datadir.write_utterances(data, reversed(utterances), {u.utt: "hi there" for u in utterances}, {"s1": "m"})
    assert datadir.read_utterances(data) == utterances
    assert sorted(p.name for p in data.iterdir()) == ["spk2gender", "spk2utt", "text", "utt2spk", "wav.scp"]
    assert (data / "spk2utt").read_text() == "s1 s1-a\ns10 s10-a\ns2 s2-a\n"


def test_utterances_that_are_parts_survive_a_round_trip(tmp_path):
    audio.write(tmp_path / "b.wav", np.ones(1000) / 2, 1000)
    utterances = [
        Utterance("a", Path("/x/a.wav"), "s", 0.1, 0.30000000000000004),
        Utterance("b", Path("/x/a.wav"), "s", 0.00001, 2.0),
        Utterance("c", tmp_path / "b.wav", "s"),
    ]
    datadir.write_utterances(tmp_path, utterances)
    assert (tmp_path / "wav.scp").read_text() == f"a /x/a.wav\nc {tmp_path}/b.wav\n"
    assert (tmp_path / "segments").read_text() == "a a 0.1 0.30000000000000004\nb a 0.00001 2\nc c 0 1\n"
    assert (tmp_path / "utt2dur").read_text() == "a 0.2\nb 1.99999\nc 1\n"
    assert datadir.read_utterances(tmp_path) == [*utterances[:2], Utterance("c", tmp_path / "b.wav", "s", 0.0, 1.0)]


def test_writing_again_leaves_nothing_of_the_corpus_before(tmp_path):
    part = Utterance("a", Path("a.wav"), "s", 0.1, 0.2)
    datadir.write_utterances(tmp_path, [part], {"a": "x"}, {"s": "f"})
    (tmp_path / "phones.ctm").touch()
    datadir.write_utterances(tmp_path, [Utterance("b", Path("b.wav"), "s")])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["phones.ctm", "spk2utt", "utt2spk", "wav.scp"]


def test_two_utterances_of_one_name_are_refused(tmp_path):
    with pytest.raises(UserError, match="two utterances are named 'a'"):
        datadir.write_utterances(tmp_path, [Utterance("a", Path(p), "s") for p in ("x", "y")])


@pytest.mark.parametrize("entry", ["sox x.wav -t wav - |", "| cat x.wav", "|"])
def test_commands_in_wav_scp_are_refused_and_never_run(tmp_path, entry):
    (tmp_path / "wav.scp").write_text(f"a {entry}\n")
    (tmp_path / "utt2spk").write_text("a s\n")
    with pytest.raises(UserError, match=r"wav\.scp: 'a' is '.*a command that a shell would run; write its output"):
        datadir.read_utterances(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("utt2spk", "a s\n", "utt2spk: lacks 'b' of .*segments"),
        ("utt2spk", "a s\nb s\nc s\n", "segments: lacks 'c' of .*utt2spk"),
        ("segments", "a r 0 1\nb x 0 1\n", "'b': recording 'x' is not in wav.scp"),
        ("segments", "a r 0 1\nb r 1 1\n", "'b': ends at 1 s, starts at 1 s"),
        ("segments", "a r 0 1\nb r 0 -2\n", "'b': 'r 0 -2' is not '<recording> <start> <end>'"),
        ("segments", "a r 0 1\nb r 0\n", "'b': 'r 0' is not"),
    ],
)
def test_files_that_disagree_are_refused(tmp_path, name, content, words):
    files = {"wav.scp": "r r.wav\n", "utt2spk": "a s\nb s\n", "segments": "a r 0 1\nb r 0 1\n"} | {name: content}
    for file, text in files.items():
        (tmp_path / file).write_text(text)
    with pytest.raises(UserError, match=words):
        datadir.read_utterances(tmp_path)


def test_paths_are_relative_to_the_current_directory(tmp_path, monkeypatch):
    data = tmp_path / "data"
    datadir.write_utterances(data, [Utterance("a", Path("wavs/a.wav"), "s")])
    (tmp_path / "wavs").mkdir()
    audio.write(tmp_path / "wavs" / "a.wav", np.sin(np.arange(1000)) / 2, 8000)
    monkeypatch.chdir(tmp_path)
    assert datadir.validate(data) == datadir.Problems([], [])
    monkeypatch.chdir(data)
    assert "no such file" in datadir.validate(data).errors[0]


def test_each_channel_of_a_call_is_a_recording_of_its_own(tmp_path):
    left, right = (0.1 * np.random.default_rng(seed).standard_normal(8000).astype(np.float32) for seed in (0, 1))
    soundfile.write(tmp_path / "call.wav", np.stack([left, -left + 0.2 * right], axis=1), 8000, subtype="FLOAT")
    data = tmp_path / "data"
    calls = [Utterance(f"call-{name}", tmp_path / "call.wav", f"s{name}", channel=i) for i, name in enumerate("AB")]
    datadir.write_utterances(data, calls)
    assert (data / "reco2file_and_channel").read_text() == "call-A call A\ncall-B call B\n"
    assert datadir.read_utterances(data) == calls
    problems = datadir.validate(data)
    assert problems.errors == []
    assert not any("channels" in warning for warning in problems.warnings)
    read = [audio.read(u.path, 8000, u.start, u.end, u.channel)[0] for u in calls]
    np.testing.assert_array_equal(read[0], left)
    np.testing.assert_allclose(read[1], -left + 0.2 * right, atol=1e-7)


def test_parts_of_two_channels_of_one_file_stay_apart(tmp_path):
    soundfile.write(tmp_path / "call.wav", 0.1 * np.random.default_rng(0).standard_normal((8000, 2)), 8000)
    parts = [Utterance(f"{name}-1", tmp_path / "call.wav", name, 0.25, 0.75, "AB".index(name)) for name in "AB"]
    datadir.write_utterances(tmp_path / "data", parts)
    assert datadir.read_utterances(tmp_path / "data") == parts


def test_the_channel_of_a_mono_file_is_the_file(tmp_path):
    soundfile.write(tmp_path / "b.wav", 0.1 * np.random.default_rng(0).standard_normal(800), 8000)
    np.testing.assert_array_equal(audio.read(tmp_path / "b.wav", channel=1)[0], audio.read(tmp_path / "b.wav")[0])


@pytest.mark.parametrize("line", ["call-A call", "call-A call C", "call-A call A B"])
def test_a_malformed_channel_is_refused(tmp_path, line):
    soundfile.write(tmp_path / "call.wav", np.ones(800), 8000)
    datadir.write_utterances(tmp_path, [Utterance("call-A", tmp_path / "call.wav", "s")])
    (tmp_path / "reco2file_and_channel").write_text(f"{line}\n")
    with pytest.raises(UserError, match=r"'call-A' has 'call[ ABC]*', not '<file> A', B or 1 .*; correct it"):
        datadir.read_utterances(tmp_path)
