"""Decoding unit directories: files that depend on units, voice, seed and temperature, and on nothing else."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from tiny_model import save_tiny_model

import vqaudio
from vqaudio.codec import Codec, utterance_seed
from vqaudio.errors import UserError
from vqaudio.units import wavs
from vqaudio.units.extraction import settings_of
from vqaudio.units.synthesis import decode
from vqaudio.units.writer import write_units

CODES = {utt: np.array([[i, i, i, 3, 15 - i]]) for i, utt in enumerate(["a", "b", "c", "d", "e"])}


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory):
    return save_tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def codec(model_dir) -> Codec:
    return vqaudio.load(model_dir)


@pytest.fixture
def units(codec, tmp_path) -> Path:
    write_units(tmp_path / "units", settings_of(codec, False), CODES.items(), [])
    return tmp_path / "units"


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix in (".wav", ".scp")}


def run(model_dir: Path, units: Path, out: Path, **changes) -> None:
    options = {"speaker": None, "utt2spk": None, "temperature": 1.0, "seed": 0, "weights": "float32", "jobs": 1}
    options["device"] = "cpu"
    decode(model_dir, units=units, out=out, **{**options, **changes})


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix in (".wav", ".scp")}


@pytest.fixture
def made(monkeypatch) -> list[int]:
    """The seeds of the utterances that are sampled, as it happens."""
    decode_all, made = Codec.decode_all, []

    def counted(self, codes, speakers, seeds, *arguments, **options):
        made.extend(seeds)
        return decode_all(self, codes, speakers, seeds, *arguments, **options)

    monkeypatch.setattr(Codec, "decode_all", counted)
    return made


def test_few_loud_samples_are_clipped_and_many_scale_the_utterance(model_dir, units, tmp_path, monkeypatch, capsys):
    swing = np.sin(np.arange(4000) / 3).astype(np.float32)
    few = swing.copy()
    few[[5, 7]] = 1.5, -3.0
    wavs = {"a": swing * 0.5, "b": few, "c": swing * 7, "d": swing, "e": swing}
    monkeypatch.setattr(Codec, "decode_all", lambda *_, **__: list(wavs.values()))
    run(model_dir, units, tmp_path / "out")
    made = {utt: soundfile.read(tmp_path / "out" / f"{utt}.wav")[0] for utt in CODES}
    np.testing.assert_allclose(made["b"], few.clip(-1, 1), atol=1e-4)
    np.testing.assert_allclose(made["c"], swing / np.abs(swing).max(), atol=1e-4)
    output = capsys.readouterr().out
    assert "2 samples were outside −1..1 and are clipped" in output
    assert "1 utterances had more than 0.1 % of their samples outside −1..1 and are scaled down" in output


def test_every_utterance_is_a_file_of_its_units(model_dir, codec, units, tmp_path):
    out = tmp_path / "out dir"
    run(model_dir, units, out, speaker="p226", seed=7, temperature=0.5)
    assert (out / "wav.scp").read_text() == "".join(f"{utt} {out}/{utt}.wav\n" for utt in CODES)
    for utt, codes in CODES.items():
        wav, sample_rate = soundfile.read(out / f"{utt}.wav", dtype="float32")
        assert sample_rate == 8000
        assert soundfile.info(out / f"{utt}.wav").subtype == "PCM_16"
        expected = codec.decode(codes, "p226", utterance_seed(7, utt), 0.5)
        np.testing.assert_allclose(wav, expected / max(1, np.abs(expected).max()), atol=1e-4)


@pytest.mark.parametrize("bands", [2, 4])
def test_units_of_a_model_of_several_bands_become_speech(bands, tmp_path):
    model_dir = save_tiny_model(tmp_path / "model", bands=bands)
    codec = vqaudio.load(model_dir)
    write_units(tmp_path / "units", settings_of(codec, False), CODES.items(), [])
    run(model_dir, tmp_path / "units", tmp_path / "out", jobs=2)
    for utt, codes in CODES.items():
        wav, _ = soundfile.read(tmp_path / "out" / f"{utt}.wav", dtype="float32")
        expected = codec.decode(codes, None, utterance_seed(0, utt))
        np.testing.assert_allclose(wav, expected / max(1, np.abs(expected).max()), atol=1e-4)


def test_files_do_not_depend_on_the_number_of_jobs(model_dir, units, tmp_path):
    run(model_dir, units, tmp_path / "one")
    run(model_dir, units, tmp_path / "three", jobs=3)
    one, three = contents(tmp_path / "one"), contents(tmp_path / "three")
    del one["wav.scp"], three["wav.scp"]
    assert one == three


def test_deduplicated_units_sound_like_all_of_them(model_dir, codec, units, tmp_path):
    write_units(tmp_path / "short", settings_of(codec, True), CODES.items(), [])
    assert (tmp_path / "short" / "units.txt").read_text() != (units / "units.txt").read_text()
    run(model_dir, units, tmp_path / "out")
    before = contents(tmp_path / "out")
    run(model_dir, tmp_path / "short", tmp_path / "out2")
    after = contents(tmp_path / "out2")
    assert {k: v for k, v in before.items() if k != "wav.scp"} == {k: v for k, v in after.items() if k != "wav.scp"}


def test_a_second_run_does_nothing_and_a_lost_file_is_made_again(model_dir, units, tmp_path, made):
    out = tmp_path / "out"
    run(model_dir, units, out)
    before = contents(out)
    made.clear()
    run(model_dir, units, out)
    assert made == []
    (out / "c.wav").unlink()
    run(model_dir, units, out)
    assert made == [utterance_seed(0, "c")]
    assert contents(out) == before


@pytest.mark.parametrize("change", [{"seed": 1}, {"temperature": 0.5}, {"speaker": "p225"}, {"weights": "bfloat16"}])
def test_other_options_make_all_files_again(model_dir, units, tmp_path, made, change):
    out = tmp_path / "out"
    run(model_dir, units, out)
    before = contents(out)
    made.clear()
    run(model_dir, units, out, **change)
    assert len(made) == len(CODES)
    assert contents(out) != before
    run(model_dir, units, out)
    assert contents(out) == before


def test_changed_units_make_only_their_files_again(model_dir, codec, units, tmp_path, made):
    out = tmp_path / "out"
    run(model_dir, units, out)
    made.clear()
    write_units(units, settings_of(codec, False), {**CODES, "b": CODES["b"] + 1}.items(), [])
    run(model_dir, units, out)
    assert made == [utterance_seed(0, "b")]


def test_a_killed_job_continues_with_what_is_missing(model_dir, units, tmp_path, made, monkeypatch):
    out = tmp_path / "out"
    run(model_dir, units, out, seed=1)
    monkeypatch.setattr(wavs, "GROUP_UTTERANCES", 1)
    write, count = wavs.audio.write, 0

    def dying(path, *arguments):
        nonlocal count
        count += 1
        if count > 2:
            raise KeyboardInterrupt
        return write(path, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(wavs.audio, "write", dying)
        with pytest.raises(KeyboardInterrupt):
            run(model_dir, units, out)
    assert not (out / "wav.scp").exists()
    made.clear()
    run(model_dir, units, out)
    assert made == [utterance_seed(0, utt) for utt in "cde"]
    run(model_dir, units, tmp_path / "whole")
    for utt in CODES:
        assert (out / f"{utt}.wav").read_bytes() == (tmp_path / "whole" / f"{utt}.wav").read_bytes()


def test_a_table_gives_each_utterance_its_voice(model_dir, codec, units, tmp_path):
    table = tmp_path / "utt2spk"
    table.write_text("a p225\nb p226\nc p225\nd <unknown>\ne p226\nf p999\n")  # f is not asked for
    run(model_dir, units, tmp_path / "out", utt2spk=table)
    for utt, voice in {"b": "p226", "c": "p225", "d": None}.items():
        wav, _ = soundfile.read(tmp_path / "out" / f"{utt}.wav", dtype="float32")
        expected = codec.decode(CODES[utt], voice, utterance_seed(0, utt))
        np.testing.assert_allclose(wav, expected / max(1, np.abs(expected).max()), atol=1e-4)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("a p225\nb p999\nc p225\nd p225\ne p225\n", r"utt2spk:2: b: speaker 'p999' is not one .*\(p225, p226\)"),
        ("a p225\nb p226\n", r"utt2spk: has no speaker for 3 utterances of the units, such as c; add them, or leave"),
    ],
)
def test_a_table_that_does_not_serve_is_refused(model_dir, units, tmp_path, lines, message):
    (tmp_path / "utt2spk").write_text(lines)
    with pytest.raises(UserError, match=message):
        run(model_dir, units, tmp_path / "out", utt2spk=tmp_path / "utt2spk")
    assert not (tmp_path / "out").exists()


def test_a_speaker_and_a_table_exclude_each_other(model_dir, units, tmp_path):
    with pytest.raises(UserError, match="give one of them"):
        run(model_dir, units, tmp_path / "out", speaker="p225", utt2spk=tmp_path / "utt2spk")


def test_an_id_never_decides_where_a_file_goes(model_dir, codec, tmp_path):
    ids = ["../../x", "19/19_00", ".hidden", "音" * 92]
    records = [(utt, np.array([[1]])) for utt in sorted(ids, key=str.encode)]
    write_units(tmp_path / "a" / "b" / "units", settings_of(codec, False), records, [])
    before = set(tmp_path.rglob("*"))
    out = tmp_path / "a" / "b" / "out"
    run(model_dir, tmp_path / "a" / "b" / "units", out)
    files = dict(line.split() for line in (out / "wav.scp").read_text().splitlines())
    assert set(files) == set(ids)
    assert {Path(file).parent for file in files.values()} == {out}
    assert all(Path(file).is_file() for file in files.values())
    assert {path for path in set(tmp_path.rglob("*")) - before if path.parent != out} == {out}


def test_groups_hold_to_both_bounds():
    tasks = [wavs.Task(str(n), np.zeros((1, n), dtype=int), None, 0, "") for n in (5, 1, 1, 1, 2, 9, 1)]
    groups = [[task.utt for task in group] for group in wavs._groups(tasks, utterances=3, frames=5)]
    assert groups == [["5"], ["1", "1", "1"], ["2", "9"], ["1"]]


def names_and_bytes(folder: Path) -> dict[str, bytes]:
    """The WAV files of a folder, and the names in its wav.scp."""
    found = {path.name: path.read_bytes() for path in folder.glob("*.wav")}
    return found | {"wav.scp": " ".join(line.split()[0] for line in (folder / "wav.scp").read_text().splitlines())}


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 1, 2)])
def test_parts_make_the_files_of_one_job_and_the_last_lists_them(model_dir, units, tmp_path, order):
    run(model_dir, units, tmp_path / "whole")
    for index in order:
        assert not (tmp_path / "out" / "wav.scp").exists()
        run(model_dir, units, tmp_path / "out", shard=(index, 3))
    assert names_and_bytes(tmp_path / "out") == names_and_bytes(tmp_path / "whole")
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.wav")}
    for index in order:  # once more makes nothing
        run(model_dir, units, tmp_path / "out", shard=(index, 3))
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.wav")} == times


def test_a_part_that_is_made_otherwise_takes_the_list_away_until_it_is_done(model_dir, units, tmp_path, monkeypatch):
    for index in (1, 2):
        run(model_dir, units, tmp_path / "out", shard=(index, 2))

    def dying(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(wavs.audio, "write", dying)
        with pytest.raises(KeyboardInterrupt):
            run(model_dir, units, tmp_path / "out", shard=(1, 2), seed=1)
    assert not (tmp_path / "out" / "wav.scp").exists()
    run(model_dir, units, tmp_path / "out", shard=(2, 2))
    assert not (tmp_path / "out" / "wav.scp").exists()  # the other part is not complete
    run(model_dir, units, tmp_path / "out", shard=(1, 2), seed=1)
    assert (tmp_path / "out" / "wav.scp").exists()


def test_a_folder_made_in_parts_is_completed_in_as_many(model_dir, units, tmp_path):
    run(model_dir, units, tmp_path / "one")
    with pytest.raises(UserError, match=r"one: was made in 1 parts, not in 2; use as many, or choose another --out"):
        run(model_dir, units, tmp_path / "one", shard=(1, 2))
    run(model_dir, units, tmp_path / "one")  # the refusal left nothing
    run(model_dir, units, tmp_path / "two", shard=(1, 2))
    for shard in ((1, 1), (1, 3)):
        with pytest.raises(UserError, match="was made in 2 parts"):
            run(model_dir, units, tmp_path / "two", shard=shard)
    with pytest.raises(UserError, match="--shard 1/6: not i/N"):
        run(model_dir, units, tmp_path / "three", shard=(1, 6))
