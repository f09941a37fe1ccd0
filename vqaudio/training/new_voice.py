"""A voice that a trained model has not seen, from a minute of its speech: one more speaker embedding is fitted.

All other weights stay, bit for bit: units are those of the model that got the voice, and its other voices sound as
before. The embedding minimises what the last phase of training minimises: the WaveNet's negative log likelihood of the
speech given its units, and the L1 of log-mel. The end of the speech is held out, and says when to stop.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vqaudio import audio, datadir, model_directory
from vqaudio.datadir import Utterance
from vqaudio.errors import UserError
from vqaudio.model import VQAutoencoder, build_model
from vqaudio.model_directory import LoadedModel, load_model
from vqaudio.outputs import claim_folder
from vqaudio.progress import Progress
from vqaudio.threads import one_thread
from vqaudio.training.dataset import Batch
from vqaudio.training.loop import precision
from vqaudio.training.objective import Objective
from vqaudio.units.extraction import from_files

KIND = "model with a new voice"
"""What the mark of the output says (see `vqaudio.outputs`): a folder that `train` neither resumes nor replaces."""

MIN_SECONDS, MAX_SECONDS = 10.0, 300.0
"""Least speech that a voice is fitted to, and most; what comes after is not read."""

ROWS = "conditioner.speaker.weight"
"""The tensor (speakers, C) that gets one more row."""

HELD_OUT = 0.2
"""Share of the speech, at its end, that only says when to stop."""

LEARNING_RATE, BETAS = 0.02, (0.9, 0.99)
CHECK_EVERY, PATIENCE = 20, 4
"""Steps between two looks at what is held out, and looks in a row without a better one that end the fit."""

CANDIDATES = 8
"""Voices of which the WaveNet says which one is nearest; log-mel, which is cheap, chooses them."""

WINDOW_SECONDS, WINDOWS, AT_ONCE = 0.5, 40, 8
"""Windows that voices are compared on: their length, most of them, and how many go through the model at a time."""


@dataclass(frozen=True)
class Piece:
    """Frames `first` to before `last` of an utterance; frame k and its context begin at sample k * hop of `padded`."""

    padded: Tensor
    first: int
    last: int

    def __len__(self) -> int:
        """Return the number of frames."""
        return self.last - self.first


@dataclass(frozen=True)
class Outcome:
    """What a fit brought: losses of held-out speech in the voice `<unknown>`, the nearest one and the new one."""

    nearest: str
    unknown: dict[str, float]
    before: dict[str, float]
    after: dict[str, float]
    steps: int

    def __str__(self) -> str:
        shown = {"<unknown>": self.unknown, self.nearest: self.before, "now": self.after}
        figures = (f"{name} {losses['nll']:.4f} and {losses['mel']:.4f}" for name, losses in shown.items())
        return f"held-out speech, nats a sample and weighted L1 of log-mel: {', '.join(figures)}"


def add_voice(
    model_dir: Path, *, data: Path | None, wavs: list[Path], speaker: str, out: Path, steps: int, seed: int
) -> None:
    """Write a copy of a model that has one more voice, fitted to the speech of a new speaker.

    Args:
        model_dir: the model, which stays as it is.
        data: Kaldi data directory, whose utterances of `speaker` are taken; or
        wavs: audio files, all of this speaker.
        speaker: name of the new voice.
        out: model directory to write.
        steps: most steps of the fit.
        seed: of the segments that the steps take.

    Raises:
        UserError: the model has this speaker or cannot be trained, there is too little speech, or `out` may not be
            written into.
    """
    loaded = load_model(model_dir)
    check_name(speaker, loaded.speakers)
    utterances = _utterances_of(data, speaker) if data is not None else from_files(wavs)
    claim_folder(out, KIND, inputs=[model_dir, *(wavs if data is None else [data])])
    net = _objective(loaded, model_dir)
    pieces = read_speech(net, utterances)
    bits = precision(net.cfg.trainer.precision, torch.device("cpu"))
    with one_thread(), torch.autocast("cpu", bits, enabled=bits != torch.float32):
        outcome = fit(net, loaded.speakers, *split(pieces, HELD_OUT), steps, np.random.default_rng(seed))
    _write(out, loaded, speaker, net.model)
    seconds = sum(map(len, pieces)) * net.model.encoder.hop_length / net.cfg.data.sample_rate
    print(
        f"{out}: {speaker}, from {seconds:.1f} s of speech in {outcome.steps} steps from {outcome.nearest}; {outcome}"
    )


def check_name(speaker: str, speakers: Sequence[str]) -> None:
    """Check that a name can become that of a new voice.

    Raises:
        UserError: it cannot.
    """
    if speaker.split() != [speaker] or not speaker.isprintable():
        raise UserError(f"--speaker {speaker!r}: a name has no white space and is not empty; choose another one")
    if speaker in speakers:
        raise UserError(f"--speaker {speaker}: the model has this voice already; choose another name")


def _utterances_of(data: Path, speaker: str) -> list[Utterance]:
    utterances = datadir.read_utterances(data)
    own = [utterance for utterance in utterances if utterance.speaker == speaker]
    if not own:
        others = sorted({utterance.speaker for utterance in utterances})
        some = ", ".join(others[:8]) + (", …" if len(others) > 8 else "")
        raise UserError(f"{data / 'utt2spk'}: has no speaker {speaker}; give --speaker one of its speakers ({some})")
    return own


def _objective(loaded: LoadedModel, model_dir: Path) -> Objective:
    """Return what training minimises, for a model with one more row of speakers, all weights of which are fixed."""
    from omegaconf.errors import OmegaConfBaseException

    loaded.model.require_encoder()
    model = build_model(loaded.config, len(loaded.speakers) + 1)
    tensors = loaded.model.state_dict()
    rows = tensors[ROWS]
    model.load_state_dict(tensors | {ROWS: torch.cat([rows, rows[:1]])})
    config = loaded.config.copy()
    try:
        config.trainer.jitter = 0.0  # speech is sampled without
        net = Objective(model, config)
    except (OmegaConfBaseException, AttributeError, TypeError):
        cure = "give the directory of a model that vqaudio train wrote"
        raise UserError(f"{model_dir / 'config.yaml'}: has no settings of a training; {cure}") from None
    return net.requires_grad_(False)


def read_speech(net: Objective, utterances: Sequence[Utterance]) -> list[Piece]:
    """Return utterances with zeros around them, each at the model's level, until they are `MAX_SECONDS` long.

    Raises:
        UserError: one cannot be read, or they are shorter than `MIN_SECONDS`.
    """
    encoder, rate = net.model.encoder, int(net.cfg.data.sample_rate)
    hop, outside = encoder.hop_length, net.margin * encoder.hop_length
    pieces: list[Piece] = []
    samples = 0
    for each in utterances:
        wav = audio.read(each.path, rate, each.start, each.end, each.channel)[0]
        wav = audio.level_change(wav, net.cfg.data.level_db).apply(wav)[: round(MAX_SECONDS * rate) - samples]
        samples += len(wav)
        frames = encoder.num_frames(len(wav))
        end = frames * hop - len(wav)
        padded = F.pad(torch.from_numpy(wav), (outside + encoder.left, end + outside + encoder.right))
        pieces.append(Piece(padded, 0, frames))
        if samples >= round(MAX_SECONDS * rate):
            break
    if samples < MIN_SECONDS * rate:
        raise UserError(
            f"{utterances[0].path}: with the other files {samples / rate:.1f} s of speech, of which a voice needs "
            f"{MIN_SECONDS:g} s, better a minute; give more"
        )
    return pieces


def split(pieces: Sequence[Piece], share: float) -> tuple[list[Piece], list[Piece]]:
    """Return the pieces before the last `share` of all frames, and those in it; one piece is cut in two for it."""
    left = round((1 - share) * sum(map(len, pieces)))
    before, after = [], []
    for piece in pieces:
        cut = piece.first + min(max(left, 0), len(piece))
        left -= len(piece)
        before.append(replace(piece, last=cut))
        after.append(replace(piece, first=cut))
    return list(filter(len, before)), list(filter(len, after))


def draw(net: Objective, pieces: Sequence[Piece], random: np.random.Generator) -> Batch:
    """Return a batch of segments with margins, as many and as long as those of the training."""
    phase = net.cfg.trainer.decoder_phase
    frames = min(phase.frames, max(map(len, pieces)))
    pieces = [piece for piece in pieces if len(piece) >= frames]
    ends = np.cumsum([len(piece) for piece in pieces])
    chosen = [pieces[i] for i in np.searchsorted(ends, random.integers(ends[-1], size=phase.segments), side="right")]
    return _batch(
        net, [(piece, int(random.integers(piece.first, piece.last - frames + 1))) for piece in chosen], frames
    )


def windows(net: Objective, pieces: Sequence[Piece], most: int = WINDOWS) -> list[Batch]:
    """Return windows that lie evenly in the pieces, as batches for `score`."""
    frames = max(1, round(WINDOW_SECONDS * net.cfg.data.sample_rate / net.model.encoder.hop_length))
    frames = min(frames, max(map(len, pieces)))
    places = [(piece, k) for piece in pieces for k in range(piece.first, piece.last - frames + 1, frames)]
    chosen = [places[round(i)] for i in np.linspace(0, len(places) - 1, min(most, len(places)))]
    return [_batch(net, chosen[i : i + AT_ONCE], frames) for i in range(0, len(chosen), AT_ONCE)]


def _batch(net: Objective, places: Sequence[tuple[Piece, int]], frames: int) -> Batch:
    """Return the `frames` frames from some places on, with the margins around them; the speaker is to be set."""
    encoder = net.model.encoder
    hop, frames = encoder.hop_length, frames + 2 * net.margin
    length = encoder.left + frames * hop + encoder.right
    padded = torch.stack([piece.padded[first * hop :][:length] for piece, first in places])
    none = torch.zeros(len(places), frames, dtype=torch.long)
    return Batch(padded, none[:, 0], torch.ones(len(places), frames, dtype=torch.bool), none)


@torch.no_grad()
def score(net: Objective, batches: Sequence[Batch], row: int) -> dict[str, float]:
    """Return the mean losses of windows spoken by a row of the speakers."""
    sums: dict[str, float] = {}
    for batch in batches:
        for name, loss in _losses(net, batch, row).items():
            sums[name] = sums.get(name, 0.0) + float(loss) * len(batch.padded)
    return {name: total / sum(len(batch.padded) for batch in batches) for name, total in sums.items()}


def _losses(net: Objective, batch: Batch, row: int) -> dict[str, Tensor]:
    return net.decoder_losses(batch._replace(speaker=torch.full_like(batch.speaker, row)))[0]


@torch.no_grad()
def nearest_voice(net: Objective, batches: Sequence[Batch], rows: int) -> int:
    """Return which of the first rows of the speakers tells windows best, of the `CANDIDATES` that tell log-mel best."""
    codes = [net.model.fixed(batch.padded, batch.speaker, jitter=0.0)[0] for batch in batches]

    def mel(row: int) -> float:
        total = 0.0
        for batch, given in zip(batches, codes, strict=True):
            voice = torch.full_like(batch.speaker, row)
            condition = net.model.fixed(batch.padded, voice, jitter=0.0, given=given)[1]
            total += float(net.mel_loss(batch, condition, net.margin))
        return total

    return min(sorted(range(rows), key=mel)[:CANDIDATES], key=lambda row: sum(score(net, batches, row).values()))


def fit(
    net: Objective,
    speakers: Sequence[str],
    fitted: Sequence[Piece],
    held_out: Sequence[Piece],
    steps: int,
    random: np.random.Generator,
) -> Outcome:
    """Fit the last row of the speakers, from the nearest other one on; keep the best row by held-out speech."""
    table, row = net.model.conditioner.speaker.weight.requires_grad_(True), len(speakers)
    nearest, far = nearest_voice(net, windows(net, fitted, WINDOWS // 4), row), windows(net, held_out)
    with torch.no_grad():
        table[row] = table[nearest]
    best = before = score(net, far, row)
    kept, worse, step = table.detach()[row].clone(), 0, 0
    optimizer = torch.optim.Adam([table], lr=LEARNING_RATE, betas=BETAS)  # no row but the last has a gradient
    with Progress("voice", steps, "steps") as progress:
        while step < steps and worse < PATIENCE:
            optimizer.param_groups[0]["lr"] = LEARNING_RATE * (0.5 + 0.5 * math.cos(math.pi * step / steps))
            optimizer.zero_grad()
            torch.stack(list(_losses(net, draw(net, fitted, random), row).values())).sum().backward()
            optimizer.step()
            step += 1
            progress.update()
            if step % CHECK_EVERY == 0 or step == steps:
                now = score(net, far, row)
                better = sum(now.values()) < sum(best.values())
                worse = 0 if better else worse + 1
                if better:
                    best, kept = now, table.detach()[row].clone()
    with torch.no_grad():
        table[row] = kept
    return Outcome(speakers[nearest], score(net, far, 0), before, best, step)


def _write(out: Path, loaded: LoadedModel, speaker: str, model: VQAutoencoder) -> None:
    config = loaded.config.copy()
    config.units_hash = loaded.units_hash
    # The weights go first and come last, so that a killed job leaves no list of speakers that is not theirs.
    (out / "model.safetensors").unlink(missing_ok=True)
    model_directory.save_config(out, config, [*loaded.speakers, speaker])
    model_directory.save_model(out, model.state_dict())
