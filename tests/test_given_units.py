"""Units of other tools learn to speak: their codes lie where the audio lies, merged ones get durations, runs resume."""

import json
import logging
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from omegaconf import DictConfig
from segments import RATE, dataset
from tiny_training import states_agree, tiny_overrides, write_tones

import vqaudio
from vqaudio.cli import main
from vqaudio.distributed import World
from vqaudio.errors import JobError, UserError
from vqaudio.model.given import DurationPredictor
from vqaudio.training.app import compose
from vqaudio.training.dataset import SegmentDataset
from vqaudio.training.given_units import MERGED, with_units
from vqaudio.training.loop import Training, train
from vqaudio.units.directory import UnitsInfo
from vqaudio.units.synthesis import decode
from vqaudio.units.writer import write_units

HOP, CODES = 80, 16
ORIGIN = "ab" * 32


def write_given(folder: Path, codes: dict[str, np.ndarray], **changes: object) -> Path:
    """Write the unit directory of another tool; without changes its rate is that of the tones."""
    settings = {"sample_rate": RATE, "hop_length": HOP, "codebook_size": CODES, "groups": 1, "model_hash": ORIGIN}
    write_units(folder, UnitsInfo.of(**{**settings, **changes}), codes.items(), [])
    return folder


def codes_of(utts: list[str], frames: int, groups: int = 1) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    return {utt: np.repeat(random.integers(0, CODES, (groups, frames // 4)), 4, axis=1) for utt in sorted(utts)}


TONES = [f"s{s}_{u}" for s in range(2) for u in range(3)]  # 0.6 s each: 60 frames


@pytest.fixture(scope="module", autouse=True)
def a_quick_start() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vqaudio.training.start.START_FRAMES", 100)
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tones(tmp_path_factory.mktemp("given") / "data")


@pytest.fixture(scope="module")
def units(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_given(tmp_path_factory.mktemp("given") / "units", codes_of(TONES, 60))


@pytest.fixture(scope="module")
def merged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_given(tmp_path_factory.mktemp("given") / "merged", codes_of(TONES, 60), deduplicated=True)


def config(data: Path, units: Path, exp: Path, *more: str, steps: int = 20) -> DictConfig:
    return compose([*tiny_overrides(data, exp, steps=steps), f"data.units={units}", *more])


@pytest.fixture(scope="module")
def exp(data: Path, units: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("given") / "exp"
    train(config(data, units, folder, steps=100))
    return folder


@pytest.fixture(scope="module")
def merged_exp(data: Path, merged: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("given") / "merged_exp"
    train(config(data, merged, folder, "trainer.lr=3e-3", steps=60))
    return folder


def metrics(exp: Path) -> list[dict]:
    return [json.loads(line) for line in (exp / "metrics.jsonl").read_text().splitlines()]


def speak(exp: Path, units: Path, out: Path, **changes: object) -> dict[str, bytes]:
    options = {"speaker": None, "utt2spk": None, "temperature": 1.0, "seed": 0, "weights": "float32", "jobs": 1}
    decode(exp, units=units, out=out, **{**options, "device": "cpu", **changes})
    return {path.name: path.read_bytes() for path in out.glob("*.wav")}


def test_a_run_has_the_decoder_phase_alone_and_leaves_a_model_without_encoder(exp: Path) -> None:
    assert {line["phase"] for line in metrics(exp)} == {"decoder"}
    losses = [line for line in metrics(exp) if "train/nll" in line]
    assert losses[-1]["train/nll"] < losses[0]["train/nll"] - 0.2
    assert losses[-1]["train/mel"] < losses[0]["train/mel"]
    assert losses[0]["lr"] > 10 * losses[-1]["lr"]  # one whole course of the learning rate
    codec = vqaudio.load(exp)
    assert (codec.sample_rate, codec.hop_length, codec.codebook_size, codec.groups) == (RATE, HOP, CODES, 1)
    assert codec.units_hash == ORIGIN
    assert codec.model.durations is None
    assert not any(name.startswith("encoder") for name in codec.model.state_dict())


def test_the_codewords_of_the_units_learn(data: Path, units: Path, tmp_path: Path) -> None:
    cfg = with_units(config(data, units, tmp_path / "exp"))
    run = Training(cfg, tmp_path / "exp", World(0, 1, torch.device("cpu")))
    batch = run.data.batch(0, size=4, frames=8, margin=run.net.margin)
    losses, _ = run.net(batch, 1.0, True)
    losses["nll"].backward()
    grad = run.model.quantizer.codebook.grad
    seen = torch.unique(batch.codes)
    assert (grad[0, seen].abs().sum(1) > 0).all()
    assert grad.abs().sum() == grad[0, seen].abs().sum()


def test_speech_of_the_units_is_decoded_and_streamed(exp: Path, units: Path, tmp_path: Path) -> None:
    made = speak(exp, units, tmp_path / "out", speaker="s1")
    assert sorted(made) == [f"{utt}.wav" for utt in TONES]
    assert soundfile.info(tmp_path / "out" / "s0_0.wav").frames == 60 * HOP
    codec, codes = vqaudio.load(exp), codes_of(TONES, 60)["s0_0"]
    streamed = np.concatenate(list(codec.decode_stream(codes, "s1", seed=3)))
    np.testing.assert_array_equal(streamed, codec.decode(codes, "s1", seed=3))


@pytest.mark.parametrize("kind", ["units", "merged"])
def test_a_run_stopped_by_a_signal_continues_bit_for_bit(
    kind: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    given = request.getfixturevalue(kind)
    train(config(data, given, tmp_path / "whole", "trainer.jitter=0.2"))
    cfg = config(data, given, tmp_path / "stopped", "trainer.jitter=0.2")
    housekeeping = Training.housekeeping

    def interrupted(self: Training, *args: float) -> None:
        housekeeping(self, *args)
        if self.step == 7:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(Training, "housekeeping", interrupted)
        with pytest.raises(JobError, match="at step 7; the same command resumes"):
            train(cfg)
    train(cfg)
    assert states_agree(tmp_path / "whole", tmp_path / "stopped")
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "stopped")]
    assert weights[0] == weights[1]


# Where codes lie


def write_steps(folder: Path, lengths: dict[str, int]) -> Path:
    """Write utterances of one speaker whose samples in frame n are n / 1000."""
    folder.mkdir()
    for utt, length in lengths.items():
        wav = (np.arange(length) // HOP / 1000).astype(np.float32)
        soundfile.write(folder / f"{utt}.wav", wav, RATE, subtype="FLOAT")
    (folder / "wav.scp").write_text("".join(f"{utt} {folder / utt}.wav\n" for utt in sorted(lengths)))
    (folder / "utt2spk").write_text("".join(f"{utt} s\n" for utt in sorted(lengths)))
    return folder


def counted(frames: int) -> np.ndarray:
    """Return codes that are the number of their frame."""
    return np.arange(frames)[None]


def given_dataset(data: Path, units: Path) -> SegmentDataset:
    return dataset(data, units=units, hop_length=HOP, left=0, right=0)


@pytest.mark.parametrize("frames", [99, 100, 101, 102])
@pytest.mark.parametrize("deduplicated", [False, True])
def test_codes_are_those_of_the_frames_of_the_audio(tmp_path: Path, frames: int, deduplicated: bool) -> None:
    data = write_steps(tmp_path / "data", {"a": 100 * HOP + 30, "b": 5 * HOP})
    codes = {"a": counted(frames), "b": counted(5)}
    made = given_dataset(data, write_given(tmp_path / "units", codes, codebook_size=200, deduplicated=deduplicated))
    firsts = set()
    for step in range(30):
        batch = made.batch(step, size=4, frames=8, margin=3)
        heard = (1000 * batch.padded.unflatten(1, (14, HOP)).amax(2)).round().long()
        for code, frame, mask in zip(batch.codes[:, 0], heard, batch.mask, strict=True):
            assert torch.equal(code[mask], frame[mask])
            assert mask.any()
            assert code[mask].max() < min(frames, 101)
            firsts.add(int(code[3]))
    assert len(firsts) > 20  # segments begin anywhere
    assert max(firsts) == min(frames, 100) - 8


def test_the_middle_of_an_utterance_has_its_codes(tmp_path: Path) -> None:
    data = write_steps(tmp_path / "data", {"a": 100 * HOP, "b": 5 * HOP})
    made = given_dataset(data, write_given(tmp_path / "units", {"a": counted(100), "b": counted(5)}, codebook_size=200))
    lengths = set()
    for batch in made.middles(10, 20):
        heard = (1000 * batch.padded.unflatten(1, (-1, HOP)).mean(2)).round().long()
        assert torch.equal(batch.codes[:, 0], heard)
        assert batch.mask.all()
        lengths.add(batch.codes.shape[2])
    assert lengths == {5, 20}


def test_groups_are_kept_apart(tmp_path: Path) -> None:
    data = write_steps(tmp_path / "data", {"a": 50 * HOP})
    codes = np.concatenate([counted(50), 60 + counted(50)])
    batch = given_dataset(data, write_given(tmp_path / "units", {"a": codes}, codebook_size=200, groups=2)).batch(
        0, size=2, frames=8
    )
    assert batch.codes.shape == (2, 2, 8)
    assert torch.equal(batch.codes[:, 0] + 60, batch.codes[:, 1])


def test_merged_units_come_with_whole_durations(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    durations = random.integers(1, 5, 150)
    codes = np.repeat(np.arange(150), durations)[None]
    data = write_steps(tmp_path / "data", {"a": codes.shape[1] * HOP, "b": 20 * HOP})
    both = {"a": codes, "b": np.repeat([[3, 8]], [13, 7], axis=1)}
    made = given_dataset(data, write_given(tmp_path / "units", both, codebook_size=200, deduplicated=True))
    short = 0
    for step in range(20):
        batch = made.batch(step, size=4, frames=8)
        assert batch.merged.shape == (4, 1, MERGED)
        assert batch.durations.shape == (4, MERGED)
        for codes_here, row, lasting in zip(batch.codes[:, 0], batch.merged[:, 0], batch.durations, strict=True):
            if lasting[-1] == 0:
                assert (row[:2].tolist(), lasting[:3].tolist()) == ([3, 8], [13, 7, 0])
                short += 1
            else:
                np.testing.assert_array_equal(lasting, durations[row])
                assert row[0] <= codes_here[0] <= codes_here[-1] <= row[-1]  # about the segment
    assert short > 0


def test_units_that_are_three_frames_off_are_refused_with_the_utterance(tmp_path: Path) -> None:
    data = write_steps(tmp_path / "data", {"a": 100 * HOP, "b": 50 * HOP})
    units = write_given(tmp_path / "units", {"a": counted(98), "b": counted(53)}, codebook_size=200)
    with pytest.raises(UserError, match=r"units.txt: b: 53 frames, but 0.50 s of audio make 50.0 at 100 Hz, more"):
        given_dataset(data, units)


def test_utterances_without_units_are_left_out_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = write_steps(tmp_path / "data", {"a": 9 * HOP, "b": 99 * HOP, "c": 9 * HOP, "d": 9 * HOP})
    more = {"a": counted(9), "aa": counted(70), "c": 20 + counted(9), "d": counted(9), "e": counted(70)}
    with caplog.at_level(logging.WARNING, logger="vqaudio.training"):
        made = given_dataset(data, write_given(tmp_path / "units", more, codebook_size=200))
    assert "1 of 4 utterances, such as b, have no units in" in caplog.text
    codes = torch.cat([made.batch(step, size=8, frames=4).codes for step in range(5)])
    assert set(codes.flatten().tolist()) == {*range(9), *range(20, 29)}
    assert len(list(made.middles(10, 4))) == 3
    assert made.recordings.unreadable == {}  # none was drawn and then skipped
    assert made.seconds == pytest.approx(27 * HOP / RATE)
    with pytest.raises(UserError, match=r"3 of 4 utterances, such as b, have no units in .*; give the units of"):
        given_dataset(data, write_given(tmp_path / "few", {"a": counted(9)}))


def test_units_that_change_while_they_are_read_are_no_other_units(tmp_path: Path) -> None:
    data = write_steps(tmp_path / "data", {"a": 9 * HOP, "b": 9 * HOP})
    units = write_given(tmp_path / "units", {"a": counted(9), "b": counted(9)})
    made = given_dataset(data, units)
    assert made.given is not None
    assert made.given.read(1).utt == "b"
    (units / "units.txt").write_text("a 1\nb 2\n")
    with pytest.raises(UserError, match=r"units.txt: changed while it was read"):
        made.given.read(1)


# Rates and kinds


def test_units_of_another_rate_speak_at_the_rate_of_the_model(data: Path, tmp_path: Path) -> None:
    units = write_given(tmp_path / "units", codes_of(TONES, 60), sample_rate=4000, hop_length=40)
    train(config(data, units, tmp_path / "exp", steps=5))
    codec = vqaudio.load(tmp_path / "exp")
    assert (codec.sample_rate, codec.hop_length, codec.frame_rate) == (8000, 80, 100)
    speak(tmp_path / "exp", units, tmp_path / "out")
    assert soundfile.info(tmp_path / "out" / "s0_0.wav").frames == 60 * HOP


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"sample_rate": 12000, "hop_length": 119},
            r"data.sample_rate: at 8000 Hz a frame of the units \(119 samples ",
        ),
        ({"hop_length": 82}, r"model.decoder.bands: 4 do not divide a hop of 82 samples, of the units; change either"),
        ({"groups": 3}, r"groups \(3\) must divide latent_dim \(8\)"),
    ],
)
def test_units_whose_frames_do_not_fit_are_refused(changes: dict, message: str, data: Path, tmp_path: Path) -> None:
    codes = codes_of(TONES, 60, changes.get("groups", 1))
    units = write_given(tmp_path / "units", codes, **changes)
    with pytest.raises(UserError, match=message) as caught:
        train(config(data, units, tmp_path / "exp"))
    assert "\n" not in str(caught.value)


def test_units_of_the_validation_set_must_be_of_the_same_kind(data: Path, units: Path, tmp_path: Path) -> None:
    other = write_given(tmp_path / "units", codes_of(TONES, 60), codebook_size=CODES + 1)
    with pytest.raises(UserError, match=r"codebook_size is 17, not 16, as in .*units.json; give units of the same"):
        train(config(data, units, tmp_path / "exp", f"data.valid_units={other}"))


def test_a_run_does_not_resume_with_units_of_another_model(data: Path, units: Path, tmp_path: Path) -> None:
    train(config(data, units, tmp_path / "exp", steps=5))
    other = write_given(tmp_path / "units", codes_of(TONES, 60), model_hash="cd" * 32)
    with pytest.raises(UserError, match=r"holds a run of another model: units_hash is abab.* there and cdcd.* here"):
        train(config(data, other, tmp_path / "exp", steps=5))


def test_settings_that_only_an_encoder_reads_are_refused(
    data: Path, units: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [f"data.train={data}", f"data.valid={data}", f"exp_dir={tmp_path / 'exp'}"]
    for override in ("quantizer=gumbel", "trainer.label_weight=1", "model.encoder.strides=[8,10]"):
        assert main(["train", *paths, f"data.units={units}", override]) == 2
        assert f"train: {override} does nothing with data.units" in capsys.readouterr().err
    assert main(["train", *paths, f"data.valid_units={units}"]) == 2
    assert "goes with data.units" in capsys.readouterr().err
    assert not (tmp_path / "exp").exists()


@pytest.mark.parametrize(
    "command",
    [
        ["extract", "--model", "EXP", "--data", "DATA", "--out", "OUT"],
        ["evaluate", "robustness", "--model", "EXP", "--data", "DATA"],
        ["evaluate", "curve", "--model", "EXP", "--data", "DATA", "--alignment", "DATA/wav.scp"],
    ],
)
def test_commands_that_need_an_encoder_say_so_in_one_line(
    command: list[str], exp: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "phones.ctm").write_text("s0_0 1 0.0 0.5 a\n")
    places = {"EXP": str(exp), "DATA": str(data), "OUT": str(tmp_path / "out")}
    places["DATA/wav.scp"] = str(tmp_path / "phones.ctm")
    assert main([places.get(word, word) for word in command]) == 2
    assert "has no encoder; make units with that model" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_model_without_encoder_encodes_nothing(exp: Path) -> None:
    with pytest.raises(UserError, match="has no encoder"):
        vqaudio.load(exp).encode(np.zeros(800, np.float32), RATE)


def test_info_describes_a_model_without_encoder(exp: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(exp)]) == 0
    assert "1 × 16 codes of 8 values, given" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_hash": "cd" * 32}, "the units belong to model cdcdcdcdcdcd, not abababababab"),
        ({"codebook_size": 17}, "codebook_size is 17, not 16"),
        ({"hop_length": 40}, "hop_length is 40, not 80"),
    ],
)
def test_units_of_another_origin_are_not_decoded(changes: dict, message: str, exp: Path, tmp_path: Path) -> None:
    other = write_given(tmp_path / "units", codes_of(TONES, 60), **changes)
    with pytest.raises(UserError, match=message):
        speak(exp, other, tmp_path / "out")
    assert not (tmp_path / "out").exists()


# Durations


def test_durations_of_the_text_are_used_and_others_are_predicted(
    merged_exp: Path, units: Path, merged: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain, timed = speak(merged_exp, units, tmp_path / "a"), speak(merged_exp, merged, tmp_path / "b")
    assert plain == timed
    assert "the model predicts" not in capsys.readouterr().out
    bare = write_given(tmp_path / "bare", codes_of(TONES, 60), deduplicated=True)
    (bare / "durations.txt").unlink()
    predicted = speak(merged_exp, bare, tmp_path / "c")
    assert "has no durations.txt; the model predicts how long units last" in capsys.readouterr().out
    assert predicted == speak(merged_exp, bare, tmp_path / "d", jobs=2)
    frames = [soundfile.info(tmp_path / "c" / name).frames / HOP for name in predicted]
    assert all(30 < count < 90 for count in frames)  # 60 in truth
    loss = [line["train/duration"] for line in metrics(merged_exp) if "train/duration" in line]
    assert loss[-1] < 0.2 * loss[0]


def test_units_without_durations_need_a_model_that_predicts_them(exp: Path, tmp_path: Path) -> None:
    bare = write_given(tmp_path / "bare", codes_of(TONES, 60), deduplicated=True)
    (bare / "durations.txt").unlink()
    with pytest.raises(UserError, match=r"durations.txt: not found, and the model predicts no durations"):
        speak(exp, bare, tmp_path / "out")


@pytest.fixture
def predictor() -> DurationPredictor:
    torch.manual_seed(0)
    return DurationPredictor(latent_dim=8, speakers=2)


def test_the_predictor_learns_mean_durations_of_units_and_speakers(predictor: DurationPredictor) -> None:
    book = torch.randn(4, 8)
    means = torch.tensor([[1.0, 3.0, 6.0, 20.0], [2.0, 5.0, 9.0, 30.0]])  # of speaker and unit
    optimizer = torch.optim.Adam(predictor.parameters(), lr=1e-2)
    for _ in range(150):
        units, speaker = torch.randint(4, (16, 30)), torch.randint(2, (16,))
        durations = torch.poisson(means[speaker].gather(1, units)).clamp_min(1).long()
        loss = predictor.loss(book[units].transpose(1, 2), speaker, durations)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    units = torch.randint(4, (1, 400))
    for speaker in (0, 1):
        with torch.no_grad():
            found = predictor.predict(book[units].transpose(1, 2), torch.tensor([speaker]))
        for unit in (1, 2, 3):
            assert found[units[0] == unit].double().mean().item() == pytest.approx(
                means[speaker, unit].item(), rel=0.25
            )
        assert found.sum().item() == pytest.approx(means[speaker][units[0]].sum().item(), rel=0.1)


def test_the_loss_of_true_durations_is_nothing_and_padding_says_nothing(predictor: DurationPredictor) -> None:
    with torch.no_grad():
        predictor.out.weight.zero_()  # 3 frames for every unit
    z_q, speaker = torch.randn(2, 8, 10), torch.tensor([0, 1])
    durations = torch.full((2, 10), 3)
    assert predictor.loss(z_q, speaker, durations).item() == pytest.approx(0, abs=1e-6)
    assert predictor.loss(z_q, speaker, durations + 1).item() > 0.01
    torch.manual_seed(1)
    predictor.out.reset_parameters()
    durations[1, 6:] = 0
    before = predictor.loss(z_q, speaker, durations)
    z_q[1, :, 6:] = 100.0
    assert torch.equal(predictor.loss(z_q, speaker, durations), before)
    inside = torch.ones(1, 6, dtype=torch.bool)
    alone, padded = predictor(z_q[1:, :, :6], speaker[1:], inside), predictor(z_q, speaker, durations > 0)
    torch.testing.assert_close(padded[1:, :6], alone)


def test_rounding_does_not_add_up_and_no_unit_is_lost_or_endless(predictor: DurationPredictor) -> None:
    with torch.no_grad():
        predictor.out.weight.zero_()
        z_q, speaker = torch.randn(1, 8, 100), torch.tensor([0])
        for mean, total in ((2.3, 230), (0.01, 100), (1e9, 100_000)):
            predictor.out.bias.fill_(float(np.log(mean)))
            found = predictor.predict(z_q, speaker)
            assert found.min() >= 1
            assert found.sum() == total
