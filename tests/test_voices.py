"""The voices of a training set: warps, means and deviations of each speaker's MFCC."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from reference import naive_voice_features

from vqaudio import audio
from vqaudio.training.recordings import Recordings
from vqaudio.training.voices import CLASSES, VOICE_SECONDS, WARPS, Voices

RATE, HOP = 16000, 160
VOWELS = np.array([(300, 2300, 3000), (700, 1100, 2500), (350, 900, 2300), (500, 1800, 2600), (600, 1000, 2700)])


def vowels(seed: int, tract: float, seconds: float, pitch: float = 110.0) -> np.ndarray:
    """Random vowels of 0.15 s each, whose formants (Hz) are multiplied by `tract`."""
    random = np.random.default_rng(seed)
    t = np.arange(int(0.15 * RATE)) / RATE
    parts = []
    for _ in range(round(seconds / 0.15)):
        formants = tract * VOWELS[random.integers(len(VOWELS))]
        harmonics = np.arange(1, int(7000 / pitch)) * pitch
        power = sum(1 / (1 + ((harmonics - f) / 90) ** 2) for f in formants) + 1e-3
        parts.append((power[:, None] * np.sin(2 * np.pi * harmonics[:, None] * t)).sum(0))
    wav = np.concatenate(parts)
    return (0.1 * wav / wav.std() + 1e-3 * random.standard_normal(len(wav))).astype(np.float32)


def write(folder: Path, speakers: dict[str, Sequence[np.ndarray]]) -> Path:
    names = {f"{speaker}_{i}": (speaker, wav) for speaker, wavs in speakers.items() for i, wav in enumerate(wavs)}
    for name, (_, wav) in names.items():
        soundfile.write(folder / f"{name}.wav", wav, RATE, subtype="FLOAT")
    (folder / "wav.scp").write_text("".join(f"{name} {folder / name}.wav\n" for name in sorted(names)))
    (folder / "utt2spk").write_text("".join(f"{name} {names[name][0]}\n" for name in sorted(names)))
    return folder


def voices_of(data: Path, coefficients: int = 13) -> Voices:
    return Voices(Recordings(data, sample_rate=RATE, level_db=None), HOP, coefficients, [-0.02, 0.0, 0.03])


def test_a_voice_is_warped_by_as_much_as_its_vocal_tract_is_shorter(tmp_path: Path) -> None:
    tracts = {"a": 0.95, "b": 1.0, "c": 1.05, "d": 1.15, "e": 1.25}
    data = write(tmp_path, {name: [vowels(i, tract, 6.0)] for i, (name, tract) in enumerate(tracts.items())})
    voices = voices_of(data)
    assert voices.voice("a").warp == 1.0  # there are no centroids yet
    voices.use(voices.fit(sorted(tracts), torch.Generator().manual_seed(0)))
    assert voices.centroids.shape == (CLASSES, 39)
    lengths = np.log([tracts[name] * voices.voice(name).warp for name in sorted(tracts)])
    assert np.ptp(lengths) < 0.11  # two steps of 5 %; of the tracts: 0.27
    assert len({voices.voice(name).warp for name in tracts}) >= 4


def test_features_are_normalised_over_the_speaker_and_stand_beside_those_around_them(tmp_path: Path) -> None:
    wavs = [vowels(seed, 1.0, seconds) for seed, seconds in ((0, 1.2), (1, 0.9))]
    data = write(tmp_path, {"a": wavs, "b": [vowels(2, 1.2, 1.0)]})
    voices = voices_of(data)
    for row in (0, 1):
        expected = naive_voice_features(wavs, row, 1.0, RATE, HOP, 13, [-2, 0, 3])
        np.testing.assert_allclose(voices.features(row).numpy(), expected, atol=2e-3)
    voices.use(voices.fit(["a", "b"], torch.Generator().manual_seed(0)))
    warp = voices.voice("a").warp
    expected = naive_voice_features(wavs, 0, warp, RATE, HOP, 13, [-2, 0, 3])
    np.testing.assert_allclose(voices.features(0).numpy(), expected, atol=2e-3)


def test_the_warp_of_a_voice_is_the_one_nearest_to_the_centroids(tmp_path: Path) -> None:
    wavs = [vowels(0, 1.2, 1.2)]
    voices = voices_of(write(tmp_path, {"a": wavs, "b": [vowels(1, 1.0, 2.0)]}))
    voices.use(torch.from_numpy(naive_voice_features([vowels(1, 1.0, 2.0)], 0, 1.0, RATE, HOP, 13, [-2, 0, 3])).float())
    distances = []
    for warp in WARPS:
        features = naive_voice_features(wavs, 0, warp, RATE, HOP, 13, [-2, 0, 3])
        apart = features[:, None] - voices.centroids.numpy()[None]
        distances.append(np.square(apart).sum(2).min(1).mean())
    assert voices.voice("a").warp == WARPS[int(np.argmin(distances))] != 1.0


def test_a_voice_needs_some_seconds_of_speech_and_skips_what_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write(tmp_path, {"a": [vowels(seed, 1.0, 0.45 * VOICE_SECONDS) for seed in range(4)]})
    voices = voices_of(data)
    read: list[Path] = []
    monkeypatch.setattr(audio, "read", lambda path, *args, real=audio.read: read.append(path) or real(path, *args))
    voices.voice("a")
    assert len(set(read)) == 3  # the third exceeds it
    (data / f"{voices.recordings.utterances[voices.rows['a'][0]].utt}.wav").unlink()
    other = voices_of(data)
    read.clear()
    other.voice("a")
    assert len({path for path in read if path.exists()}) == 3
    assert len(other.recordings.unreadable) == 1
