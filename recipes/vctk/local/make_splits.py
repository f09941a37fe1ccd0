"""Stage 1: split the corpus into train, dev, test_seen and test_unseen by the rules of vqaudio.corpora.splits."""

import argparse
from pathlib import Path

from script import run

from vqaudio import datadir
from vqaudio.corpora import splits
from vqaudio.corpora.formatting import write_drops
from vqaudio.datadir import copy_subset, read_optional
from vqaudio.outputs import claim_folder

SHARED_PARAGRAPHS = 24


def main() -> None:
    """Write OUT/<set> for each set, OUT/unseen_speakers and OUT/drops.tsv."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--committed", type=Path, required=True, help="unseen speakers of the real VCTK, one per line")
    parser.add_argument("--unseen-speakers", default="", help="names instead of the rule, separated by blanks")
    parser.add_argument("--cap", type=int, default=splits.CAP, help="utterances in test_seen and in dev at most")
    parser.add_argument("--cap-unseen", type=int, default=splits.CAP, help="utterances in test_unseen at most")
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()

    utterances = {utterance.utt: utterance for utterance in datadir.read_utterances(args.data)}
    speaker_of = {utt: utterance.speaker for utt, utterance in utterances.items()}
    speakers = set(speaker_of.values())
    committed = args.committed.read_text(encoding="utf-8").split()
    real_vctk = set(committed) <= speakers
    unseen = splits.choose_unseen(
        speakers,
        read_optional(args.data / "spk2gender", speakers),
        committed=committed,
        named=args.unseen_speakers.split(),
    )
    result = splits.make_splits(
        speaker_of,
        read_optional(args.data / "text", utterances),
        unseen,
        train_only=[utt for utt in utterances if real_vctk and is_shared_paragraph(utt)],
        cap=args.cap,
        cap_unseen=args.cap_unseen,
    )
    claim_folder(args.out, "splits", inputs=[args.data])
    for name, utts in result.sets.items():
        copy_subset(args.data, args.out / name, [utterances[utt] for utt in utts])
        print(f"{name}: {len(utts)} utterances of {len({speaker_of[utt] for utt in utts})} speakers")
    write_drops(args.out / "drops.tsv", result.drops)
    print(f"in no set: {len(result.drops)} (drops.tsv); unseen speakers: {' '.join(result.unseen)}")


def is_shared_paragraph(utt: str) -> bool:
    """Return whether an utterance of VCTK is one of 001 to 024, which all speakers read."""
    number = utt.rsplit("_", 1)[-1]
    return number.isdigit() and int(number) <= SHARED_PARAGRAPHS


if __name__ == "__main__":
    run(main)
