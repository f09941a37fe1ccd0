"""Parquet files and datasets that Hugging Face's `datasets` saves become data directories, and it reads our units."""

import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests import datadirs
from vqaudio import audio
from vqaudio.cli import main
from vqaudio.datadir import read_table, read_utterances, validate
from vqaudio.errors import UserError
from vqaudio.units import UnitsInfo
from vqaudio.units.conversion import convert
from vqaudio.units.writer import write_units

pa = pytest.importorskip("pyarrow", reason="pyarrow not installed: pip install 'vqaudio[parquet]'")


def sound(kind: str = "WAV", seed: int = 0) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, np.random.default_rng(seed).normal(0, 0.1, 4000), 8000, format=kind)
    return buffer.getvalue()


ROWS = [
    {"id": "s2/b", "audio": {"bytes": sound("FLAC"), "path": "x/y.flac"}, "text": "two\n words", "speaker_id": 2},
    {"id": "s1_a", "audio": {"bytes": sound("OGG"), "path": None}, "text": None, "speaker_id": 1},
    {"id": "é", "audio": {"bytes": sound("WAV"), "path": "../../../etc/z.wav"}, "text": "three", "speaker_id": 1},
]


def parquet(path: Path, rows: list[dict]) -> Path:
    from pyarrow.parquet import write_table

    write_table(pa.Table.from_pylist(rows), path)
    return path


def imported(*argv: object) -> int:
    return main(["data", "import", *map(str, argv)])


def check(out: Path) -> None:
    """Check that a folder is the data directory of `ROWS`."""
    found = {u.utt: u for u in read_utterances(out)}
    assert list(found) == ["s1_a", "s2/b", "é"]
    assert {u.utt: u.speaker for u in found.values()} == {"s1_a": "1", "s2/b": "2", "é": "1"}
    assert (out / "text").read_text() == "s1_a\ns2/b two words\né three\n"
    assert read_table(out / "spk2utt") == {"1": "s1_a é", "2": "s2/b"}
    names = {"s1_a": "s1_a.ogg", "s2/b": "s2%2Fb.flac", "é": "é.wav"}
    for row in ROWS:
        path = found[row["id"]].path
        assert path == out.absolute() / "audio" / names[row["id"]]
        assert path.read_bytes() == row["audio"]["bytes"]
    problems = validate(out)
    assert problems.errors == []
    assert {path.name for path in out.iterdir()} == {
        ".vqaudio",
        "audio",
        "spk2utt",
        "text",
        "utt2spk",
        "wav.scp",
    }


def test_a_parquet_file_becomes_a_data_directory_with_files_of_its_audio(tmp_path, capsys):
    source = parquet(tmp_path / "a.parquet", ROWS)
    assert imported(source, tmp_path / "data") == 0
    assert capsys.readouterr().out == f"3 utterances in {tmp_path / 'data'}\n"
    check(tmp_path / "data")
    assert {path.name for path in tmp_path.iterdir()} == {"a.parquet", "data"}


def test_parquet_files_and_folders_of_them_are_one_corpus(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for n, row in enumerate(ROWS):
        (tmp_path / "in" / str(n)).mkdir(parents=True)
        parquet(tmp_path / "in" / str(n) / "a.parquet", [row])
    assert imported("in", "new/data") == 0
    check(tmp_path / "new/data")
    assert imported("in/0", "in/1/a.parquet", "in/2", "again") == 0
    check(tmp_path / "again")


def test_audio_that_is_a_path_stays_where_it_is_and_names_the_utterance(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    audio.write(tmp_path / "in" / "a.b.wav", datadirs.noise(4000), 8000)
    for n, value in enumerate(["in/a.b.wav", {"path": str(tmp_path / "in/a.b.wav"), "bytes": None}]):
        parquet(tmp_path / f"{n}.parquet", [{"voice": value, "said": "hi", "who": "x"}])
        assert imported(f"{n}.parquet", f"d{n}", "--audio", "voice", "--text", "said", "--speaker", "who") == 0
        (utterance,) = read_utterances(f"d{n}")
        assert (utterance.utt, utterance.speaker, utterance.path) == ("a.b", "x", tmp_path / "in/a.b.wav")
        assert read_table(tmp_path / f"d{n}/text") == {"a.b": "hi"}
        assert not (tmp_path / f"d{n}/audio").exists()


def test_without_a_speaker_each_utterance_has_its_own_and_bytes_alone_will_do(tmp_path):
    parquet(tmp_path / "a.parquet", [{"utt": 7, "audio": sound()}])
    assert imported(tmp_path / "a.parquet", tmp_path / "data") == 0
    assert read_table(tmp_path / "data/utt2spk") == {"7": "7"}
    assert not (tmp_path / "data/text").exists()


def test_datasets_saves_what_is_imported(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets", reason="datasets not installed: pip install datasets")
    datasets.disable_progress_bars()
    dataset = datasets.Dataset.from_list(ROWS).cast_column("audio", datasets.Audio(decode=False))
    assert isinstance(dataset.features["audio"], datasets.Audio)
    dataset.to_parquet(tmp_path / "a.parquet")
    dataset.save_to_disk(tmp_path / "saved", num_shards=2)
    datasets.DatasetDict(train=dataset, test=dataset.select([1])).save_to_disk(tmp_path / "both")
    for number, source in enumerate(("a.parquet", "saved", "both/train")):
        assert imported(tmp_path / source, tmp_path / f"d{number}") == 0
        check(tmp_path / f"d{number}")
    chosen = dataset.select([2, 0])
    chosen.save_to_disk(tmp_path / "chosen")
    assert imported(tmp_path / "chosen", tmp_path / "chosen_data") == 0
    assert [u.utt for u in read_utterances(tmp_path / "chosen_data")] == ["s2/b", "é"]
    with pytest.raises(UserError, match=r"holds several datasets \(test, train\); give the folder of one"):
        main(["data", "import", "--debug", str(tmp_path / "both"), str(tmp_path / "no")])


@pytest.mark.parametrize("groups", [1, 2])
def test_datasets_loads_units_with_speakers_and_texts(tmp_path, monkeypatch, groups):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets", reason="datasets not installed: pip install datasets")
    datasets.disable_progress_bars()
    data = datadirs.make(tmp_path)
    info = UnitsInfo.of(sample_rate=8000, hop_length=80, codebook_size=100, groups=groups, deduplicated=True)
    codes = np.array([[71, 71, 12], [3, 3, 40]])[:groups]
    write_units(tmp_path / "units", info, [("s1-b", codes), ("s2-c", codes[:, :1])], [])
    convert(tmp_path / "units", tmp_path / "u.parquet", to="parquet", data=data)
    one = [[71, 3], [12, 40]] if groups == 2 else [71, 12]
    expected = [
        {"utt": "s1-b", "units": one, "frames": 3, "durations": [2, 1], "speaker": "s1", "text": "one s1-b"},
        {"utt": "s2-c", "units": one[:1], "frames": 1, "durations": [1], "speaker": "s2", "text": "one s2-c"},
    ]
    cache = str(tmp_path / "cache")
    loaded = datasets.load_dataset("parquet", data_files=str(tmp_path / "u.parquet"), split="train", cache_dir=cache)
    assert loaded.to_list() == expected
    read = datasets.Dataset.from_parquet(str(tmp_path / "u.parquet"), cache_dir=str(tmp_path / "other"))
    assert read.to_list() == expected
    loaded.to_parquet(tmp_path / "theirs.parquet")
    convert(tmp_path / "theirs.parquet", tmp_path / "back", to="vqaudio", settings=info)
    assert (tmp_path / "back/units.txt").read_bytes() == (tmp_path / "units/units.txt").read_bytes()
    assert (tmp_path / "back/durations.txt").read_bytes() == (tmp_path / "units/durations.txt").read_bytes()


def test_a_text_that_is_missing_is_null(tmp_path):
    from pyarrow.parquet import read_table as read_parquet

    data = datadirs.make(tmp_path)
    datadirs.edit(data / "text", "s1-b one s1-b\n", "")
    info = UnitsInfo.of(sample_rate=8000, hop_length=80, codebook_size=100, groups=1)
    write_units(tmp_path / "units", info, [(utt, np.array([[7, 7]])) for utt in ("s1-a", "s1-b", "s2-a")], [])
    convert(tmp_path / "units", tmp_path / "u.parquet", to="parquet", data=data)
    assert read_parquet(tmp_path / "u.parquet")["text"].to_pylist() == ["one s1-a", None, "one s2-a"]


GOOD = {"id": "a", "audio": {"bytes": sound(), "path": None}}


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        ([GOOD, {**GOOD, "id": "b c"}], [], r"row 2: key 'b c' contains white space or a control character; rename it"),
        ([GOOD, GOOD], [], r"row 2: 'a' and another utterance share the file a.wav; rename one"),
        ([GOOD, {"id": "b", "audio": None}], [], r"row 2: has neither the bytes nor the path of audio; leave it out"),
        ([{"id": "a", "audio": b""}], [], "row 1: a has audio of no bytes; leave it out"),
        ([{"audio": sound()}], [], "row 1: has neither an id nor the path of audio to name it after; give --id"),
        ([{"id": "a", "audio": "gone.wav"}], [], "row 1: the audio gone.wav is no file here; save it"),
        ([{"id": "a", "audio": "https://x/a.wav"}], [], "row 1: the audio https:/x/a.wav is no file here; save it"),
        (
            [{"id": "a", "audio": "sox x.wav |"}],
            [],
            r"row 1: 'sox x.wav \|' is a command that a shell would run; write",
        ),
        ([{"id": "a", "audio": 3}], [], "row 1: has neither the bytes nor the path"),
        ([{**GOOD, "text": [1]}], [], r"row 1: its text is '\[1\]', no text; give another --text"),
        ([{**GOOD, "speaker": "a b"}], [], "row 1: key 'a b' contains white space"),
        ([{"id": "a", "sound": sound()}], [], "has no column audio; give --audio with one of its columns: id, sound"),
        ([GOOD], ["--speaker", "who"], "has no column who; give --speaker with one of its columns: id, audio"),
    ],
)
def test_a_row_that_is_no_utterance_is_named_and_nothing_is_written(
    tmp_path, monkeypatch, capsys, rows, options, message
):
    monkeypatch.chdir(tmp_path)
    parquet(tmp_path / "a.parquet", rows)
    assert imported("a.parquet", "new/data", *options) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert re.search(f"vqaudio: a.parquet: {message}", error), error
    assert not list((tmp_path / "new").iterdir())


def test_a_damaged_file_or_folder_is_refused_in_one_line(tmp_path, capsys):
    good = parquet(tmp_path / "a.parquet", ROWS).read_bytes()
    (tmp_path / "cut.parquet").write_bytes(good[:-100])
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.jsonl").write_text("{}\n")
    saved = tmp_path / "saved"
    saved.mkdir()
    state = {"_data_files": [{"filename": "data.arrow"}]}
    for sources, content, message in [
        (["cut.parquet"], state, "cut.parquet: cannot be read ("),
        (["missing"], state, "missing: no such file or folder; check the path"),
        (["empty"], state, "empty: holds no .parquet files and no dataset"),
        (["a.parquet", "text.jsonl"], state, "text.jsonl: is no Parquet file or saved dataset, but another source is"),
        (["saved"], {}, "saved/state.json: not that of a dataset ("),
        (["saved"], {"_data_files": [{"filename": "../a.parquet"}]}, "state.json: not that of a dataset (a file lies"),
        (["saved"], {**state, "_indices_data_files": [1]}, "flatten_indices() it); save the dataset again"),
        (["saved"], state, "saved: cannot be read ("),
    ]:
        (saved / "state.json").write_text(json.dumps(content))
        assert imported(*(tmp_path / source for source in sources), tmp_path / "data") == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
        assert not (tmp_path / "data").exists()
    parquet(tmp_path / "none.parquet", ROWS[:1])
    from pyarrow.parquet import write_table

    write_table(pa.Table.from_pylist(ROWS).slice(0, 0), tmp_path / "none.parquet")
    assert imported(tmp_path / "none.parquet", tmp_path / "data") == 2
    assert "holds no utterances" in capsys.readouterr().err


def test_nothing_that_exists_is_written_into(tmp_path, capsys):
    (tmp_path / "in").mkdir()
    source = parquet(tmp_path / "in/a.parquet", ROWS)
    assert imported(source, tmp_path / "in") == 2
    assert imported(tmp_path / "in", tmp_path / "in/data") == 2
    assert "lies in the input" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "in").iterdir()] == ["a.parquet"]


def test_memory_holds_a_group_of_rows_and_not_the_file(tmp_path):
    from pyarrow.parquet import ParquetWriter

    from vqaudio.corpora.arrow import Columns, read_tables

    noise = np.random.default_rng(0)
    schema = pa.schema([("id", pa.string()), ("audio", pa.binary())])
    with ParquetWriter(tmp_path / "a.parquet", schema) as writer:
        for n in range(40):
            writer.write_table(pa.Table.from_pylist([{"id": f"u{n}", "audio": noise.bytes(200_000)}], schema=schema))
    before, most = pa.total_allocated_bytes(), 0
    for _ in read_tables([tmp_path / "a.parquet"], Columns()):
        most = max(most, pa.total_allocated_bytes() - before)
    assert 200_000 < most < 4_000_000
