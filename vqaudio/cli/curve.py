"""`vqaudio evaluate curve`: scores units of several models at several change penalties."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vqaudio.cli.parser import MODEL, add_jobs, command
from vqaudio.cli.scores import add_json, add_silence, add_whisper, check_json, write_scores
from vqaudio.defaults import CHANGE_PENALTIES
from vqaudio.errors import UserError
from vqaudio.released import model_folder

if TYPE_CHECKING:
    from vqaudio.metrics.curve_words import Listener


def add_curve(group: Any) -> None:
    """Add `evaluate curve`."""
    curve = command(
        group,
        "curve",
        run_evaluate_curve,
        "what units of several models lose and gain when they change less often (--change-penalty of extract)",
        "vqaudio evaluate curve --model exp/vctk --model km.safetensors --data data/test --alignment phones.ctm",
    )
    curve.add_argument(
        "--model", type=model_folder, required=True, action="append", metavar="EXP", help=MODEL + ", or k-means file"
    )
    curve.add_argument(
        "--change-penalties",
        type=float,
        nargs="+",
        default=CHANGE_PENALTIES,
        metavar="LAMBDA",
        help=f"penalties; 0 is none (default: {' '.join(f'{penalty:g}' for penalty in CHANGE_PENALTIES)})",
    )
    curve.add_argument("--data", type=Path, required=True, metavar="DIR", help="data directory; for npy, a folder")
    curve.add_argument(
        "--alignment", type=Path, required=True, metavar="CTM", help="phone times: CTM, TextGrid or folder of TextGrids"
    )
    curve.add_argument(
        "--utt2spk", type=Path, help="speakers, for ABX and intervals (default: utt2spk of the data or the alignment)"
    )
    curve.add_argument("--mapping-data", type=Path, metavar="DIR", help="data to learn the phone of each unit from")
    curve.add_argument("--mapping-alignment", type=Path, metavar="CTM", help="its phone times (default: --alignment)")
    add_silence(curve)
    curve.add_argument(
        "--judges",
        action="store_true",
        help="also score the words that Whisper hears in speech synthesised from the units of trained models",
    )
    curve.add_argument("--text", type=Path, help="what is said in the data (default: its file `text`)")
    add_whisper(curve)
    add_jobs(curve)
    add_json(curve)


def run_evaluate_curve(args: argparse.Namespace) -> None:
    """Score the units of models at several change penalties."""
    from vqaudio.metrics.alignment import default_utt2spk, read_alignment
    from vqaudio.metrics.curve import Speech, curve_table, evaluate_curve

    inputs = [args.data, args.alignment, args.utt2spk, args.mapping_data, args.mapping_alignment, args.text]
    check_json(args.json, *(path for path in inputs if path))
    if args.mapping_alignment and not args.mapping_data:
        raise UserError("evaluate curve: --mapping-alignment is of --mapping-data; give that too")
    speech = Speech(args.data, read_alignment(args.alignment, silence=args.silence))
    mapping = None
    if args.mapping_data:
        phones = read_alignment(args.mapping_alignment or args.alignment, silence=args.silence)
        mapping = Speech(args.mapping_data, phones)
    listener, whisper = _listener(args)
    scores = evaluate_curve(
        args.model,
        args.change_penalties,
        speech,
        utt2spk=args.utt2spk or default_utt2spk(args.data) or default_utt2spk(args.alignment),
        mapping=mapping,
        listener=listener,
        jobs=args.jobs,
    )
    print(curve_table(scores["rows"]))
    write_scores({**scores, **whisper}, args.json)


def _listener(args: argparse.Namespace) -> "tuple[Listener | None, dict[str, str]]":
    """Return what hears words, and the hash of its model; nothing if it is not asked."""
    if not args.judges:
        if args.text or args.whisper:
            raise UserError("evaluate curve: --text and --whisper are for judges; add --judges")
        return None, {}
    text = args.text or args.data / "text"
    if not text.is_file():
        raise UserError(f"{text}: no such file, but --judges needs what is said; give --text TEXT, Kaldi's file `text`")
    from vqaudio import files
    from vqaudio.metrics.curve_words import Listener
    from vqaudio.metrics.judge_models import load_listener
    from vqaudio.metrics.judge_setup import find_whisper

    whisper = find_whisper(args.whisper)
    judges = load_listener(whisper, language=args.language, jobs=args.jobs)
    return Listener(text, judges), {"whisper": files.sha256(whisper / "model.bin")}
