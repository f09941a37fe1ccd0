"""`vqaudio evaluate`: scores units and audio."""

import argparse
from pathlib import Path
from typing import Any

from vqaudio.cli.curve import add_curve
from vqaudio.cli.parser import MODEL, add_jobs, command, command_group
from vqaudio.cli.scores import add_json, add_silence, add_whisper, check_json, write_scores
from vqaudio.errors import UserError
from vqaudio.released import model_folder

DISCOPHON = """

figures as in the benchmark DiscoPhon, where silence is a phone, and equal phones in a row are one:
  phone_error_rate    edits by phones; each unit is read as the phone that it goes with in other utterances
  phone_error_rate_one_to_one    where there are as many units as phones: each unit is a phone of its own
  mapped_boundary_f1, mapped_r_value    of the phones that are read, within 20 ms of the true boundaries
  pnmi_with_silence    share of the phone entropy that units explain, by frames of 10 ms"""


def add_evaluate(subparsers: Any) -> None:
    """Add `evaluate`."""
    group = command_group(
        subparsers,
        "evaluate",
        "score units or audio",
        "vqaudio evaluate units --units U --alignment phones.ctm",
    )
    _add_units(group)
    _add_robustness(group)
    add_curve(group)
    audio = command(
        group,
        "audio",
        run_evaluate_audio,
        "how close reconstructions are to the originals (extra: eval), and what models hear in them (extra: judges)",
        "vqaudio evaluate audio --reference data/test/wav.scp --system exp/vctk/wav/test/wav.scp",
    )
    audio.add_argument("--reference", type=Path, required=True, metavar="SCP", help="wav.scp of the originals")
    audio.add_argument("--system", type=Path, required=True, metavar="SCP", help="wav.scp of the reconstructions")
    _add_judges(audio)
    add_jobs(audio)
    add_json(audio)


def _add_judges(audio: Any) -> None:
    audio.add_argument(
        "--judges",
        action="store_true",
        help="also score words (by Whisper), naturalness (Distill-MOS) and voice, of the originals too; needs --text",
    )
    audio.add_argument("--text", type=Path, help="what the originals say: lines of an utterance and its words")
    add_whisper(audio)
    audio.add_argument("--utt2spk", type=Path, help="speakers of the originals (default: utt2spk next to --reference)")
    audio.add_argument("--voices", type=Path, metavar="UTT2SPK", help="speakers that the system speaks as, if others")


def _add_units(group: Any) -> None:
    units = command(
        group,
        "units",
        run_evaluate_units,
        "how much units say about phones, and what they cost",
        "vqaudio evaluate units --model exp/vctk --units exp/vctk/units/test --alignment data/test/phones.ctm",
    )
    units.description += DISCOPHON
    units.add_argument("--units", type=Path, required=True, help="unit directory")
    units.add_argument(
        "--alignment", type=Path, required=True, metavar="CTM", help="phone times: CTM, TextGrid or folder of TextGrids"
    )
    units.add_argument(
        "--utt2spk", type=Path, help="speakers, for ABX, probe and intervals (default: utt2spk next to the alignment)"
    )
    units.add_argument("--model", type=model_folder, metavar="EXP", help="model of the units, for ABX on its codewords")
    units.add_argument("--mapping-units", type=Path, help="unit directory to learn the phone of each unit from")
    units.add_argument("--mapping-alignment", type=Path, metavar="CTM", help="phone times of --mapping-units")
    add_silence(units)
    add_json(units)


def _add_robustness(group: Any) -> None:
    robustness = command(
        group,
        "robustness",
        run_evaluate_robustness,
        "how much units change under gain, noise, tempo, pitch, bandwidth and offset",
        "vqaudio evaluate robustness --model exp/vctk --data data/test",
    )
    robustness.add_argument("--model", type=model_folder, required=True, metavar="EXP", help=MODEL)
    robustness.add_argument("--data", type=Path, required=True, metavar="DIR", help="data directory")
    amounts: list[tuple[str, float, str, str]] = [
        ("gain", -10.0, "DB", "change of level"),
        ("noise", 20.0, "DB", "signal-to-noise ratio of white noise"),
        ("tempo", 1.1, "FACTOR", "speed; 1.1 is 10 %% faster"),
        ("pitch", 1.0, "SEMITONES", "change of pitch"),
        ("resampling", 8000.0, "HZ", "sample rate to go through"),
        ("offset", 0.01, "SHARE", "share of full scale added to every sample"),
    ]
    for name, amount, unit, help_ in amounts:
        text = f"{help_} (default: %(default)g)"
        robustness.add_argument(f"--{name}", type=float, default=amount, metavar=unit, help=text)
    robustness.add_argument("--seed", type=int, default=0, help="of the noise (default: 0)")
    add_jobs(robustness)
    add_json(robustness)


def run_evaluate_units(args: argparse.Namespace) -> None:
    """Score units against phones."""
    from vqaudio.metrics.evaluation import evaluate_units

    inputs = [args.units, args.alignment, args.utt2spk, args.mapping_units, args.mapping_alignment]
    check_json(args.json, *(path for path in inputs if path))
    scores = evaluate_units(
        args.units,
        args.alignment,
        utt2spk=args.utt2spk,
        model=args.model,
        mapping_units=args.mapping_units,
        mapping_alignment=args.mapping_alignment,
        silence=args.silence,
    )
    _print_scores(scores, args.json)


def run_evaluate_robustness(args: argparse.Namespace) -> None:
    """Score the units of changed speech against those of the original."""
    from vqaudio.metrics.robustness import Changes, evaluate_robustness

    check_json(args.json, args.data)
    changes = Changes(args.gain, args.noise, args.tempo, args.pitch, args.resampling, args.offset)
    scores = evaluate_robustness(args.model, args.data, changes=changes, jobs=args.jobs, seed=args.seed)
    _print_scores(scores, args.json)


def run_evaluate_audio(args: argparse.Namespace) -> None:
    """Score audio against its originals."""
    from vqaudio.metrics.reconstruction import evaluate_audio

    inputs = [args.reference, args.system, args.text, args.utt2spk, args.voices]
    check_json(args.json, *(path for path in inputs if path))
    judged = _judge(args)  # first: it refuses more inputs
    scores = evaluate_audio(args.reference, args.system, jobs=args.jobs)
    for utt, figures in judged.pop("per_utterance", {}).items():
        scores["per_utterance"][utt] |= figures
    _print_scores({**scores, **judged, "per_utterance": scores["per_utterance"]}, args.json)


def _judge(args: argparse.Namespace) -> dict[str, Any]:
    """Return what judges say of audio; nothing if they are not asked."""
    if not args.judges:
        if args.text or args.whisper or args.utt2spk or args.voices:
            raise UserError("evaluate audio: --text, --whisper, --utt2spk and --voices are for judges; add --judges")
        return {}
    if args.text is None:
        raise UserError("evaluate audio --judges needs what the originals say; give --text TEXT, Kaldi's file `text`")
    from vqaudio import files
    from vqaudio.metrics.judge_models import load_judges
    from vqaudio.metrics.judge_setup import find_whisper
    from vqaudio.metrics.judges import judge_audio

    whisper = find_whisper(args.whisper)
    judges = load_judges(whisper, language=args.language, jobs=args.jobs)
    options = {"utt2spk": args.utt2spk, "voices": args.voices, "jobs": args.jobs}
    judged = judge_audio(args.reference, args.system, args.text, judges, **options)
    return {**judged, "whisper": files.sha256(whisper / "model.bin")}


def _print_scores(scores: dict[str, Any], out: Path | None) -> None:
    """Print numbers with their intervals, and write everything as JSON."""
    for name, value in scores.items():
        if isinstance(value, int | float):
            bounds = scores.get("intervals", {}).get(name)
            print(f"{name:28} {_number(value)}" + (f"  [{', '.join(map(_number, bounds))}]" if bounds else ""))
    write_scores(scores, out)


def _number(value: float) -> str:
    """Return a count as a whole number, and other numbers with four digits or, from 1000 on, without decimals."""
    if isinstance(value, int):
        return str(value)
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"
