"""Extraction: the same units whatever the jobs, shards and interruptions."""

import fcntl
import json
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile
from tiny_model import save_tiny_model

import vqaudio
from vqaudio import files
from vqaudio.codec import Codec
from vqaudio.datadir import Manifest
from vqaudio.errors import JobError, UserError
from vqaudio.files import locked
from vqaudio.units import extraction, read_units
from vqaudio.units import shards as merging
from vqaudio.units.extraction import extract, settings_of
from vqaudio.units.parallel import encode_all
from vqaudio.units.writer import UnitWriter

UTTERANCES = 9


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory):
    return save_tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data dir")
    random = np.random.default_rng(0)
    for i in range(UTTERANCES):
        wav = 0.1 * random.standard_normal(2000 + 3000 * (i % 4))
        soundfile.write(folder / f"p225_{i}.wav", wav, 8000, subtype="PCM_16")
    (folder / "wav.scp").write_text("".join(f"p225_{i} {folder}/p225_{i}.wav\n" for i in range(UTTERANCES)))
    (folder / "utt2spk").write_text("".join(f"p225_{i} p225\n" for i in range(UTTERANCES)))
    (folder / "spk2utt").write_text("p225 " + " ".join(f"p225_{i}" for i in range(UTTERANCES)) + "\n")
    return folder


def run(model_dir: Path, data: Path, out: Path, **changes) -> None:
    options = {"wavs": [], "deduplicate": False, "shard": (1, 1), "allow_failures": False, "jobs": 1}
    extract(model_dir, data=data, out=out, **{**options, **changes})


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.fixture(scope="module")
def whole(model_dir, data, tmp_path_factory) -> dict[str, bytes]:
    """The files of an uninterrupted extraction of everything by one job."""
    out = tmp_path_factory.mktemp("units")
    run(model_dir, data, out)
    return contents(out)


def test_every_utterance_has_the_units_of_its_file(model_dir, data, tmp_path, capsys):
    run(model_dir, data, tmp_path)
    units = read_units(tmp_path)
    codec = vqaudio.load(model_dir)
    assert len(units) == UTTERANCES
    for sequence in units:
        np.testing.assert_array_equal(sequence.codes, codec.encode_file(data / f"{sequence.utt}.wav"))
    info = json.loads((tmp_path / "units.json").read_text())
    assert info == {
        "sample_rate": 8000,
        "hop_length": 80,
        "frame_rate": 100.0,
        "codebook_size": 16,
        "groups": 1,
        "deduplicated": False,
        "change_penalty": 0.0,
        "model_hash": codec.hash,
        "vqaudio_version": vqaudio.__version__,
        "num_utterances": UTTERANCES,
        "num_frames": sum(s.codes.shape[1] for s in units),
    }
    assert (tmp_path / "failed.txt").read_bytes() == b""
    assert f"9 of 9 utterances, {info['num_frames']} frames" in capsys.readouterr().out


def test_units_do_not_depend_on_the_number_of_jobs(model_dir, data, tmp_path, whole):
    run(model_dir, data, tmp_path, jobs=3)
    assert contents(tmp_path) == whole


def test_segments_of_a_recording_are_utterances(model_dir, data, tmp_path):
    segmented = tmp_path / "data"
    segmented.mkdir()
    (segmented / "wav.scp").write_text(f"r {data}/p225_3.wav\n")
    (segmented / "segments").write_text("a r 0.0 0.5\nb r 0.5 1.2\n")
    (segmented / "utt2spk").write_text("a p225\nb p225\n")
    (segmented / "spk2utt").write_text("p225 a b\n")
    run(model_dir, segmented, tmp_path / "units")
    found = {s.utt: s.codes for s in read_units(tmp_path / "units")}
    assert {utt: codes.shape for utt, codes in found.items()} == {"a": (1, 50), "b": (1, 70)}


def test_audio_files_are_named_by_their_stems(model_dir, data, tmp_path, whole):
    run(model_dir, None, tmp_path, wavs=sorted(data.glob("*.wav"), reverse=True))
    assert contents(tmp_path) == whole


def test_two_files_of_one_name_are_refused(model_dir, tmp_path):
    with pytest.raises(UserError, match=r"b/x.wav: would get the utterance id 'x', like a/x.flac"):
        run(model_dir, None, tmp_path, wavs=[Path("a/x.flac"), Path("b/x.wav")])


@pytest.mark.parametrize("name", ["a b.wav", "a\udcff.wav"])
def test_a_name_that_cannot_be_an_id_is_refused(model_dir, tmp_path, name):
    with pytest.raises(UserError, match="cannot be an utterance id"):
        run(model_dir, None, tmp_path, wavs=[Path(name)])


def test_no_utterances_are_an_error(model_dir, tmp_path):
    with pytest.raises(UserError, match="no utterances to extract"):
        run(model_dir, None, tmp_path / "out", wavs=[])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 1, 2)])
def test_shards_merge_into_what_one_job_writes(model_dir, data, tmp_path, whole, order):
    for i in order:
        assert not (tmp_path / "units.json").exists()
        run(model_dir, data, tmp_path, shard=(i, 3))
    assert contents(tmp_path) == whole
    run(model_dir, data, tmp_path, shard=(2, 3))  # once more changes nothing
    assert contents(tmp_path) == whole


def identities(folder: Path) -> dict[Path, tuple[int, int]]:
    """Every file below a folder with its inode and time of change: a file that is written again gets others."""
    return {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("broken", [False, True])
def test_a_restart_on_finished_work_changes_no_file(model_dir, data, tmp_path, broken):
    wavs = sorted(data.glob("*.wav"))
    if broken:
        wavs = [*wavs[:-1], tmp_path / "x_broken.wav"]
        wavs[-1].write_bytes(b"RIFF")
    options = {"wavs": wavs, "allow_failures": True}
    for shards in (1, 3):
        out = tmp_path / f"out{shards}"
        for i in range(1, shards + 1):
            run(model_dir, None, out, shard=(i, shards), **options)
        before = identities(out)
        for i in range(1, shards + 1):
            run(model_dir, None, out, shard=(i, shards), **options)
        assert identities(out) == before


def test_shards_write_and_merge_one_at_a_time(model_dir, data, tmp_path, monkeypatch):
    held = []

    def watched(function):
        def call(*arguments, **options):
            with (tmp_path / "shards" / "lock").open("ab") as file, pytest.raises(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            held.append(function.__name__)
            return function(*arguments, **options)

        return call

    monkeypatch.setattr(UnitWriter, "finish", watched(UnitWriter.finish))
    monkeypatch.setattr(merging, "_merge", watched(merging._merge))
    for i in (1, 2):
        run(model_dir, data, tmp_path, shard=(i, 2))
    assert held == ["finish", "finish", "_merge"]


def test_shards_that_end_together_and_are_started_again_meanwhile_merge_all_the_same(model_dir, data, tmp_path, whole):
    codec = vqaudio.load(model_dir)
    everybody_done = threading.Barrier(3)

    def encode(utterance):
        if utterance.utt in ("p225_0", "p225_3", "p225_6"):  # one of each shard
            everybody_done.wait(timeout=60)
        return codec.encode_file(utterance.path)

    def job(index):
        for _ in range(3):  # the second and third time on finished work
            options = {"out": tmp_path, "shard": (index, 3), "allow_failures": False, "jobs": 1}
            extraction.write_all(Manifest(data), encode, settings_of(codec, False), **options)

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(job, (1, 2, 3)))
    assert contents(tmp_path) == whole


def test_a_merge_that_was_killed_is_done_again_by_any_shard(model_dir, data, tmp_path, whole, monkeypatch):
    for i in (1, 2):
        run(model_dir, data, tmp_path, shard=(i, 3))
    atomic_write = files.atomic_write

    def dying(path, content):
        if path == tmp_path / "units.json":
            raise KeyboardInterrupt
        atomic_write(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(files, "atomic_write", dying)
        with pytest.raises(KeyboardInterrupt):
            run(model_dir, data, tmp_path, shard=(3, 3))
    assert (tmp_path / "units.txt").exists()
    run(model_dir, data, tmp_path, shard=(1, 3))
    assert contents(tmp_path) == whole


def test_a_repaired_file_of_a_shard_is_merged_when_the_shard_is_run_again(model_dir, data, tmp_path, whole):
    wavs = tmp_path / "wavs"
    shutil.copytree(data, wavs)
    (wavs / "p225_4.wav").write_bytes(b"")
    for i in (1, 2):
        run(model_dir, None, tmp_path / "units", wavs=sorted(wavs.glob("*.wav")), shard=(i, 2), allow_failures=True)
    assert len(read_units(tmp_path / "units")) == UTTERANCES - 1
    shutil.copy(data / "p225_4.wav", wavs)
    run(model_dir, None, tmp_path / "units", wavs=sorted(wavs.glob("*.wav")), shard=(2, 2))
    assert contents(tmp_path / "units") == whole


def test_every_unit_has_the_hash_of_its_file_and_verify_does_again_what_has_changed(model_dir, data, tmp_path, whole):
    wavs = tmp_path / "wavs"
    shutil.copytree(data, wavs)
    options = {"wavs": sorted(wavs.glob("*.wav")), "jobs": 2}
    run(model_dir, None, tmp_path / "units", **options)
    hashes = dict(line.split() for line in (tmp_path / "units" / "utt2sha256").read_text().splitlines())
    assert hashes == {path.stem: files.sha256(path) for path in wavs.glob("*.wav")}
    shutil.copy(wavs / "p225_1.wav", wavs / "p225_2.wav")
    before = contents(tmp_path / "units")
    run(model_dir, None, tmp_path / "units", **options)
    assert contents(tmp_path / "units") == before  # without verify, a name that is done is done
    run(model_dir, None, tmp_path / "units", verify=True, **options)
    run(model_dir, None, tmp_path / "afresh", **options)
    assert contents(tmp_path / "units") == contents(tmp_path / "afresh") != before
    before = identities(tmp_path / "units")
    run(model_dir, None, tmp_path / "units", verify=True, **options)
    assert identities(tmp_path / "units") == before


def test_a_journal_of_another_form_is_refused(model_dir, data, tmp_path):
    (tmp_path / "units").mkdir()
    (tmp_path / "units" / ".vqaudio").write_text("units\n")
    info = settings_of(vqaudio.load(model_dir), False)
    (tmp_path / "units" / "journal.txt").write_text(json.dumps(vars(info)) + "\np225_0 1 2 3\n")
    with pytest.raises(UserError, match=r"journal.txt: is of units whose journal has version 1, not 2; remove"):
        run(model_dir, data, tmp_path / "units")


def test_the_end_of_a_shard_looks_at_no_other_shard(model_dir, data, tmp_path, monkeypatch):
    run(model_dir, data, tmp_path, shard=(1, 3))
    opened = []
    real = Path.open

    def watched(self, *arguments, **options):
        opened.append(self)
        return real(self, *arguments, **options)

    monkeypatch.setattr(Path, "open", watched)
    run(model_dir, data, tmp_path, shard=(2, 3))
    assert not [path for path in opened if "1-of-3" in path.parts]


def test_deduplicated_shards_merge_too(model_dir, data, tmp_path):
    run(model_dir, data, tmp_path / "one", deduplicate=True)
    for i in (1, 2):
        run(model_dir, data, tmp_path / "two", deduplicate=True, shard=(i, 2))
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


PENALTY = 0.4


@pytest.fixture(scope="module")
def penalised(model_dir, data, tmp_path_factory) -> dict[str, bytes]:
    """The files of an uninterrupted extraction with a penalty for changes by one job."""
    out = tmp_path_factory.mktemp("penalised")
    run(model_dir, data, out, change_penalty=PENALTY)
    return contents(out)


def test_penalised_units_are_recorded_as_such_and_change_less_often(model_dir, data, tmp_path, whole):
    run(model_dir, data, tmp_path, change_penalty=PENALTY)
    units, codec = read_units(tmp_path), vqaudio.load(model_dir)
    assert units.info.change_penalty == PENALTY
    assert (tmp_path / "units.txt").read_bytes() != whole["units.txt"]
    changes = plain = 0
    for sequence in units:
        wav, _ = soundfile.read(data / f"{sequence.utt}.wav", dtype="float32")
        np.testing.assert_array_equal(sequence.codes, codec.encode(wav, 8000, change_penalty=PENALTY))
        changes += int((np.diff(sequence.codes) != 0).sum())
        plain += int((np.diff(codec.encode(wav, 8000)) != 0).sum())
    assert changes < 0.9 * plain


@pytest.mark.parametrize("shards", [1, 3])
def test_penalised_units_do_not_depend_on_jobs_and_shards(model_dir, data, tmp_path, penalised, shards):
    for i in range(shards, 0, -1):
        run(model_dir, data, tmp_path, jobs=3, shard=(i, shards), change_penalty=PENALTY)
    assert contents(tmp_path) == penalised


def test_penalised_units_do_not_depend_on_an_interruption(model_dir, data, tmp_path, penalised, monkeypatch):
    with monkeypatch.context() as patch:
        kill_after(patch, 4)
        with pytest.raises(KeyboardInterrupt):
            run(model_dir, data, tmp_path, change_penalty=PENALTY)
    with pytest.raises(UserError, match=r"journal\.txt: is of units whose change_penalty is 0\.4, not 0\.0; remove"):
        run(model_dir, data, tmp_path)
    run(model_dir, data, tmp_path, change_penalty=PENALTY)
    assert contents(tmp_path) == penalised


def test_units_of_another_penalty_are_not_overwritten_or_merged(model_dir, data, tmp_path, whole):
    run(model_dir, data, tmp_path / "units")
    with pytest.raises(UserError, match=r"contains units whose change_penalty is 0\.0, not 0\.4; remove it or choose"):
        run(model_dir, data, tmp_path / "units", change_penalty=PENALTY)
    assert contents(tmp_path / "units") == whole
    run(model_dir, data, tmp_path / "parts", shard=(1, 2))
    with pytest.raises(UserError, match=r"1-of-2: contains units whose change_penalty is 0\.0, not 0\.4"):
        run(model_dir, data, tmp_path / "parts", shard=(2, 2), change_penalty=PENALTY)
    assert not (tmp_path / "parts" / "units.json").exists()


def test_deduplicated_penalised_units_expand_to_the_others(model_dir, data, tmp_path):
    run(model_dir, data, tmp_path / "frames", change_penalty=PENALTY)
    run(model_dir, data, tmp_path / "runs", change_penalty=PENALTY, deduplicate=True)
    for frames, runs in zip(read_units(tmp_path / "frames"), read_units(tmp_path / "runs"), strict=True):
        np.testing.assert_array_equal(frames.codes, runs.codes)
        assert (np.diff(runs.units) != 0).all()


def test_a_merge_of_other_utterances_than_the_input_is_refused(model_dir, data, tmp_path):
    run(model_dir, data, tmp_path / "out", shard=(1, 2))
    second = sorted(data.glob("*.wav"))[1:]  # one was dropped, so shard 2 of 2 is not what shard 1 left out
    with pytest.raises(JobError, match="differ from the input: the shards have p225_0 alone; remove"):
        run(model_dir, None, tmp_path / "out", wavs=second, shard=(2, 2))
    assert not (tmp_path / "out" / "units.json").exists()


@pytest.mark.parametrize("shard", [(0, 2), (3, 2), (1, 10)])
def test_a_shard_that_cannot_be_is_refused(model_dir, data, tmp_path, shard):
    with pytest.raises(UserError, match=r"--shard \d+/\d+: not i/N"):
        run(model_dir, data, tmp_path, shard=shard)


def kill_after(monkeypatch, count: int) -> list[Path]:
    """Make the codec die, as by Ctrl-C, after `count` files; return the list of those it was asked for."""
    encode_file, asked = Codec.encode_file, []

    def dying(self, path, *arguments):
        asked.append(path)
        if len(asked) > count:
            raise KeyboardInterrupt
        return encode_file(self, path, *arguments)

    monkeypatch.setattr(Codec, "encode_file", dying)
    return asked


def test_a_killed_job_continues_with_what_is_missing(model_dir, data, tmp_path, whole, monkeypatch):
    with monkeypatch.context() as patch:
        kill_after(patch, 4)
        with pytest.raises(KeyboardInterrupt):
            run(model_dir, data, tmp_path)
    assert not (tmp_path / "units.json").exists()
    done = len((tmp_path / "journal.txt").read_text().splitlines()) - 1
    assert 3 <= done <= 4
    with monkeypatch.context() as patch:
        asked = kill_after(patch, 99)
        run(model_dir, data, tmp_path)
    assert len(asked) == UTTERANCES - done
    assert contents(tmp_path) == whole


@pytest.mark.parametrize("name", ["units.txt", "utt2num_units", "failed.txt", "units.json"])
def test_a_job_killed_while_it_writes_the_directory_loses_nothing(model_dir, data, tmp_path, whole, monkeypatch, name):
    atomic_writer = files.atomic_writer

    def dying(path, *arguments, **options):
        if path.name == name:
            raise KeyboardInterrupt
        return atomic_writer(path, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(files, "atomic_writer", dying)
        with pytest.raises(KeyboardInterrupt):
            run(model_dir, data, tmp_path)
    with monkeypatch.context() as patch:
        asked = kill_after(patch, 99)
        run(model_dir, data, tmp_path)
    assert asked == []
    assert contents(tmp_path) == whole


def test_a_repaired_file_is_all_that_is_done_again(model_dir, data, tmp_path, whole, monkeypatch):
    wavs = tmp_path / "wavs"
    wavs.mkdir()
    for path in data.glob("*.wav"):
        (wavs / path.name).write_bytes(path.read_bytes())
    (wavs / "p225_4.wav").write_bytes(b"")
    with pytest.raises(JobError, match="1 of 9 utterances failed, such as p225_4"):
        run(model_dir, None, tmp_path / "units", wavs=list(wavs.iterdir()))
    assert len(read_units(tmp_path / "units")) == UTTERANCES - 1
    (wavs / "p225_4.wav").write_bytes((data / "p225_4.wav").read_bytes())
    asked = kill_after(monkeypatch, 99)
    run(model_dir, None, tmp_path / "units", wavs=list(wavs.iterdir()))
    assert [path.name for path in asked] == ["p225_4.wav"]
    assert contents(tmp_path / "units") == whole


def test_failures_can_be_allowed(model_dir, data, tmp_path):
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"RIFF")
    run(model_dir, None, tmp_path / "units", wavs=[broken, data / "p225_0.wav"], allow_failures=True)
    assert [s.utt for s in read_units(tmp_path / "units")] == ["p225_0"]
    assert (tmp_path / "units" / "failed.txt").read_text().startswith("broken\t")


def test_nothing_good_is_an_error_even_when_failures_are_allowed(model_dir, tmp_path):
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"RIFF")
    with pytest.raises(JobError, match="1 of 1 utterances failed"):
        run(model_dir, None, tmp_path / "units", wavs=[broken], allow_failures=True)
    assert (tmp_path / "units" / "failed.txt").read_text().startswith("broken\t")


def test_an_unexpected_error_of_one_utterance_does_not_cost_the_others(model_dir, data, tmp_path, monkeypatch):
    encode_file = Codec.encode_file

    def strange(self, path, *arguments):
        if path.name == "p225_2.wav":
            raise ZeroDivisionError("by zero")
        return encode_file(self, path, *arguments)

    monkeypatch.setattr(Codec, "encode_file", strange)
    with pytest.raises(JobError, match="1 of 9 utterances failed"):
        run(model_dir, data, tmp_path, jobs=2)
    assert len(read_units(tmp_path)) == UTTERANCES - 1
    assert "p225_2.wav: ZeroDivisionError: by zero" in (tmp_path / "failed.txt").read_text()


def test_units_of_another_model_are_not_overwritten(model_dir, data, tmp_path, whole):
    run(model_dir, data, tmp_path / "units")
    other = save_tiny_model(tmp_path / "other", seed=1)
    with pytest.raises(UserError, match=r"contains units whose model_hash is .*; remove it or choose another --out"):
        run(other, data, tmp_path / "units")
    with pytest.raises(UserError, match=r"contains units whose deduplicated is False, not True"):
        run(model_dir, data, tmp_path / "units", deduplicate=True)
    assert contents(tmp_path / "units") == whole


def test_units_of_other_utterances_are_not_overwritten(model_dir, data, tmp_path):
    run(model_dir, data, tmp_path)
    with pytest.raises(UserError, match="contains 8 utterances that are not in the input, such as p225_1"):
        run(model_dir, None, tmp_path, wavs=[data / "p225_0.wav"])


def test_two_jobs_may_not_write_to_one_folder(model_dir, data, tmp_path):
    with locked(tmp_path), pytest.raises(UserError, match="another job is writing here"):
        run(model_dir, data, tmp_path)
    run(model_dir, data, tmp_path)


def test_only_a_few_utterances_are_under_way_at_a_time(model_dir, data, monkeypatch):
    taken = []

    def counted():
        for utterance in extraction.from_files(sorted(data.glob("*.wav"))):
            taken.append(utterance)
            yield utterance

    codec = vqaudio.load(model_dir)
    results = encode_all(lambda u: codec.encode_file(u.path), counted(), jobs=2)
    next(results)
    assert len(taken) <= 5
    results.close()


def test_progress_is_plain_lines_where_there_is_no_terminal(monkeypatch, capsys):
    from vqaudio import progress as module

    monkeypatch.setattr(module, "SECONDS_BETWEEN_LINES", 0.0)
    with module.Progress("extract", 2, "utterances") as progress:
        progress.update()
        progress.update()
    assert capsys.readouterr().err == "extract: 1 of 2 utterances\nextract: 2 of 2 utterances\n"
