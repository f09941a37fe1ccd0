"""Stage 0: write a Kaldi data directory of the whole corpus, and drops.tsv, which lists what is left out and why."""

import argparse
from pathlib import Path

from script import run

from vqaudio import audio, datadir
from vqaudio.corpora import vctk
from vqaudio.corpora.formatting import write_drops
from vqaudio.datadir import read_optional
from vqaudio.datadir.layout import DATA_DIRECTORY
from vqaudio.datadir.validation import collision_problem
from vqaudio.errors import UserError
from vqaudio.names import collisions
from vqaudio.outputs import claim_folder


def main() -> None:
    """Read VCTK or a Kaldi data directory and write OUT."""
    parser = argparse.ArgumentParser(description=__doc__)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--vctk-root", type=Path)
    source.add_argument("--data-dir", type=Path)
    parser.add_argument("--alignment", type=Path, help="phone times (CTM)")
    parser.add_argument("out", type=Path)
    args = parser.parse_args()

    root = args.vctk_root or args.data_dir
    corpus = vctk.read(root) if args.vctk_root else read_kaldi(root)
    if pairs := collisions(utterance.utt for utterance in corpus.utterances):
        raise UserError(f"{root}: {collision_problem(pairs[0])}" + (f" ({len(pairs)} such pairs)" if pairs[1:] else ""))
    claim_folder(args.out, DATA_DIRECTORY, inputs=[root])
    datadir.write_utterances(args.out, corpus.utterances, text=corpus.text or None, spk2gender=corpus.gender or None)
    write_drops(args.out / "drops.tsv", corpus.drops)
    speakers = {utterance.speaker for utterance in corpus.utterances}
    print(f"{len(corpus.utterances)} utterances of {len(speakers)} speakers, {len(corpus.drops)} dropped (drops.tsv)")
    copy_phones(args.alignment or root / "phones.ctm", args.out, {u.utt for u in corpus.utterances})


def read_kaldi(folder: Path) -> vctk.Corpus:
    """Read a Kaldi data directory; recordings that cannot be opened are dropped."""
    corpus = vctk.Corpus()
    good: dict[Path, str] = {}
    for utterance in datadir.read_utterances(folder):
        if utterance.path not in good:
            good[utterance.path] = _problem(utterance.path)
        if good[utterance.path]:
            corpus.drops.append((utterance.utt, good[utterance.path]))
        else:
            corpus.utterances.append(utterance)
    if not corpus.utterances:
        raise UserError(f"{folder}: none of {len(corpus.drops)} utterances is usable; name audio files in wav.scp")
    corpus.text = read_optional(folder / "text", (u.utt for u in corpus.utterances))
    corpus.gender = read_optional(folder / "spk2gender", {u.speaker for u in corpus.utterances})
    return corpus


def copy_phones(alignment: Path, out: Path, utts: set[str]) -> None:
    """Copy the phone times of `utts`; without an alignment, delete those of an earlier run."""
    (out / "phones.ctm").unlink(missing_ok=True)
    if not alignment.is_file():
        print("no phone times, so units are not compared with phones")
        return
    phones = {utt: entries for utt, entries in datadir.read_ctm(alignment).items() if utt in utts}
    if not phones:
        raise UserError(f"{alignment}: none of its utterances is in the corpus; use the ids of utt2spk")
    datadir.write_ctm(out / "phones.ctm", phones)
    print(f"{alignment}: phone times of {len(phones)} of {len(utts)} utterances")


def _problem(path: Path) -> str:
    try:
        audio.info(path)
    except UserError as error:
        return " ".join(str(error).split())
    return ""


if __name__ == "__main__":
    run(main)
