"""The voice of a new speaker: what is fitted, what stays, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny_model import save_tiny_model
from tiny_training import RATE, tiny_overrides, write_tones

from vqaudio.cli import main
from vqaudio.metrics.evaluation import read_codebook
from vqaudio.model_directory import load_model
from vqaudio.outputs import MARK
from vqaudio.training import new_voice
from vqaudio.training.new_voice import ROWS, Piece, draw, split, windows


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """A trained model of the speakers s0 and s1."""
    root = tmp_path_factory.mktemp("trained")
    assert main(["train", *tiny_overrides(write_tones(root / "data"), root / "exp")]) == 0
    return root / "exp"


@pytest.fixture(scope="module")
def speech(tmp_path_factory) -> Path:
    """A data directory with 12 s of each of three speakers."""
    return write_tones(tmp_path_factory.mktemp("new") / "data", speakers=3, utterances=4, seconds=3.0)


def add(model: Path, speech: Path, out: Path, *options: object, speaker: str = "s2", steps: int = 40) -> int:
    argv = ["--model", model, "--data", speech, "--speaker", speaker, "--out", out, "--steps", steps, *options]
    return main(["voice", "add", *map(str, argv)])


@pytest.fixture(scope="module")
def with_voice(model, speech, tmp_path_factory) -> Path:
    """The model with the voice of s2."""
    out = tmp_path_factory.mktemp("voice") / "exp"
    assert add(model, speech, out) == 0
    return out


def test_one_speaker_joins_and_every_other_number_of_the_model_stays(model, with_voice):
    before, after = (load_file(folder / "model.safetensors") for folder in (model, with_voice))
    assert (with_voice / "speakers.txt").read_text() == (model / "speakers.txt").read_text() + "3 s2\n"
    assert after[ROWS].shape[0] == before[ROWS].shape[0] + 1
    after[ROWS] = after[ROWS][:-1]
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_held_out_speech_is_told_better_than_by_the_nearest_other_voice(model, speech, tmp_path, capsys):
    assert add(model, speech, tmp_path / "exp") == 0
    line = capsys.readouterr().out.splitlines()[-1]
    figures = line.rpartition(": ")[2].split(", ")
    sums = [sum(float(word) for word in figure.split() if word[0].isdigit()) for figure in figures]
    assert figures[0].startswith("<unknown> ")
    assert figures[-1].startswith("now ")
    assert all(sums[-1] < other for other in sums[:-1])


def test_the_same_command_makes_the_same_voice_and_another_seed_another_one(model, speech, with_voice, tmp_path):
    assert add(model, speech, tmp_path / "again") == 0
    assert add(model, speech, tmp_path / "again") == 0  # the output of the same command is replaced
    assert add(model, speech, tmp_path / "other", "--seed", 1) == 0
    first, again, other = (
        (folder / "model.safetensors").read_bytes() for folder in (with_voice, tmp_path / "again", tmp_path / "other")
    )
    assert first == again != other


def test_units_are_those_of_the_model_that_got_the_voice(model, speech, with_voice, tmp_path):
    for name, folder in [("old", model), ("new", with_voice)]:
        assert main(["extract", "--model", str(folder), "--data", str(speech), "--out", str(tmp_path / name)]) == 0
    for file in ("units.txt", "units.json"):
        assert (tmp_path / "old" / file).read_bytes() == (tmp_path / "new" / file).read_bytes()
    assert read_codebook(model)[0] == read_codebook(with_voice)[0]
    argv = ["--units", str(tmp_path / "old"), "--jobs", "1"]
    assert main(["decode", "--model", str(with_voice), "--speaker", "s2", "--out", str(tmp_path / "s2"), *argv]) == 0
    wavs = [tmp_path / name / "s0_0.wav" for name in ("before", "after", "s2")]
    for wav, folder in zip(wavs, (model, with_voice), strict=False):
        assert main(["decode", "--model", str(folder), "--speaker", "s1", "--out", str(wav.parent), *argv]) == 0
    before, after, new = (wav.read_bytes() for wav in wavs)
    assert before == after != new


def test_a_second_voice_keeps_the_first_and_the_units(model, speech, with_voice, tmp_path):
    assert add(with_voice, speech, tmp_path / "two", "--seed", 1, speaker="s1b", steps=1) == 2  # nobody of that name
    wavs = [str(speech / f"s1_{i}.wav") for i in range(4)]
    argv = ["--model", str(with_voice), "--speaker", "s1b", "--out", str(tmp_path / "two"), "--steps", "1", *wavs]
    assert main(["voice", "add", *argv]) == 0
    loaded = load_model(tmp_path / "two")
    assert loaded.speakers[-2:] == ["s2", "s1b"]
    assert loaded.units_hash == load_model(model).hash != loaded.hash


@pytest.mark.parametrize(
    ("speaker", "said"),
    [
        ("s1", "has this voice already"),
        ("<unknown>", "has this voice already"),
        ("a b", "no white space"),
        ("", "no white space"),
        ("s7", "has no speaker s7; give --speaker one of its speakers (s0, s1, s2)"),
    ],
)
def test_a_name_that_cannot_be_that_of_a_new_voice_is_refused(model, speech, tmp_path, capsys, speaker, said):
    assert add(model, speech, tmp_path / "exp", speaker=speaker) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not (tmp_path / "exp").exists()


def test_too_little_speech_is_refused_with_its_length(model, speech, tmp_path, capsys):
    argv = ["--model", str(model), "--speaker", "x", "--out", str(tmp_path / "exp"), str(speech / "s2_0.wav")]
    assert main(["voice", "add", *argv]) == 2
    assert "3.0 s of speech, of which a voice needs 10 s" in capsys.readouterr().err
    assert not (tmp_path / "exp" / "speakers.txt").exists()


def test_a_training_is_not_replaced_by_a_voice_nor_a_voice_by_a_training(model, speech, with_voice, tmp_path, capsys):
    other = tmp_path / "exp"
    other.mkdir()
    (other / MARK).write_text((model / MARK).read_text())
    (other / "model.safetensors").write_text("of a training")
    assert add(model, speech, other) == 2
    assert "was made as model, not as model with a new voice" in capsys.readouterr().err
    assert (other / "model.safetensors").read_text() == "of a training"
    assert main(["train", *tiny_overrides(speech, with_voice)]) == 2
    assert "was made as model with a new voice" in capsys.readouterr().err


def test_a_model_without_settings_of_a_training_is_refused(speech, tmp_path, capsys):
    assert add(save_tiny_model(tmp_path / "model"), speech, tmp_path / "exp") == 2
    assert "has no settings of a training" in capsys.readouterr().err


def test_files_and_a_data_directory_at_once_or_neither_are_refused(model, speech, tmp_path, capsys):
    assert add(model, speech, tmp_path / "exp", speech / "s2_0.wav") == 2
    assert main(["voice", "add", "--model", str(model), "--speaker", "x", "--out", str(tmp_path / "exp")]) == 2
    assert capsys.readouterr().err.count("give one of the two") == 2


def test_the_split_gives_every_frame_once_and_the_end_to_what_is_held_out():
    pieces = [Piece(torch.zeros(0), 0, length) for length in (30, 50, 20)]
    fitted, held_out = split(pieces, 0.4)
    assert [(piece.first, piece.last) for piece in fitted] == [(0, 30), (0, 30)]
    assert [(piece.first, piece.last) for piece in held_out] == [(30, 50), (0, 20)]


def numbered(net, *lengths: int) -> list[Piece]:
    """Pieces of frames whose samples say which frame they are, from 1 on; what lies around them is 0."""
    encoder, start, pieces = net.model.encoder, 1, []
    hop, outside = encoder.hop_length, net.margin * encoder.hop_length
    for length in lengths:
        frames = torch.arange(start, start + length).float().repeat_interleave(hop)
        around = (outside + encoder.left, outside + encoder.right)
        pieces.append(Piece(torch.nn.functional.pad(frames, around), 0, length))
        start += length
    return pieces


def test_segments_and_windows_are_speech_of_their_pieces_and_never_of_what_is_held_out(model, speech):
    net = new_voice._objective(load_model(model), model)
    fitted, held_out = split(numbered(net, 9, 100, 60, 3), 0.25)
    cut = round(0.75 * 172)
    frames = net.cfg.trainer.decoder_phase.frames
    random, seen = np.random.default_rng(0), set()
    for batch in [draw(net, fitted, random) for _ in range(200)]:
        inner = net.wav(batch).unflatten(1, (-1, net.model.encoder.hop_length))[:, net.margin : -net.margin, 0]
        assert inner.shape == (net.cfg.trainer.decoder_phase.segments, frames)
        assert (inner.diff(dim=1) == 1).all()
        seen |= set(inner.flatten().int().tolist())
    assert seen == set(range(1, cut + 1))
    far = [net.wav(batch)[:, net.margin * 80 : -net.margin * 80 : 80] for batch in windows(net, held_out)]
    assert {int(frame) for batch in far for frame in batch.flatten()} <= set(range(cut + 1, 173))
    assert sum(batch.numel() for batch in far) > 0


def test_speech_after_the_longest_is_not_read(model, speech, tmp_path, monkeypatch):
    from vqaudio.units.extraction import from_files

    net = new_voice._objective(load_model(model), model)
    utterances = from_files([speech / f"s2_{i}.wav" for i in range(3)] + [tmp_path / "missing.wav"])
    monkeypatch.setattr(new_voice, "MIN_SECONDS", 1.0)
    monkeypatch.setattr(new_voice, "MAX_SECONDS", 4.0)
    utterances.sort(key=lambda utterance: utterance.utt == "missing")
    pieces = new_voice.read_speech(net, utterances)
    assert [len(piece) for piece in pieces] == [3 * RATE // 80, RATE // 80]


def test_the_nearest_voice_is_the_one_that_tells_the_speech_best_however_many_candidates_there_are(
    model, speech, monkeypatch
):
    net = new_voice._objective(load_model(model), model)
    table = net.model.conditioner.speaker.weight
    with torch.no_grad():
        table[0], table[1] = 30.0, -30.0  # voices that tell nothing
    pieces = new_voice.read_speech(net, new_voice._utterances_of(speech, "s1"))
    batches = windows(net, pieces, 4)
    scores = [sum(new_voice.score(net, batches, row).values()) for row in range(3)]
    assert int(np.argmin(scores)) == 2
    for candidates in (1, 3):
        monkeypatch.setattr(new_voice, "CANDIDATES", candidates)
        assert new_voice.nearest_voice(net, batches, 3) == 2
