"""Make a Kaldi data directory for `run.sh --data-dir` from LibriSpeech: librispeech_data.py FOLDER OUT.

FOLDER contains <speaker>-<chapter>-<number>.flac at any depth, and the transcripts as LibriSpeech's `*.trans.txt` or as
one Kaldi `text` file; a `phones.ctm` in it is copied.
"""

import argparse
import shutil
from pathlib import Path

from script import run

from vqaudio import datadir
from vqaudio.datadir import Utterance
from vqaudio.datadir.layout import DATA_DIRECTORY
from vqaudio.errors import UserError
from vqaudio.outputs import claim_folder


def main() -> None:
    """Write OUT."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    utterances = read_librispeech(args.folder)
    texts = read_texts(args.folder)
    claim_folder(args.out, DATA_DIRECTORY, inputs=[args.folder])
    text = {utterance.utt: texts[utterance.utt] for utterance in utterances if utterance.utt in texts}
    datadir.write_utterances(args.out, utterances, text=text or None)
    if (args.folder / "phones.ctm").is_file():
        shutil.copyfile(args.folder / "phones.ctm", args.out / "phones.ctm")
    print(f"{args.out}: {len(utterances)} utterances, {len(text)} with text")


def read_librispeech(folder: Path) -> list[Utterance]:
    """Return the utterances in a folder or below it."""
    utterances = [
        Utterance(path.stem, path.absolute(), path.stem.split("-")[0])
        for path in sorted(folder.rglob("*.flac"), key=lambda path: path.stem)
    ]
    if not utterances:
        raise UserError(f"{folder}: no .flac file in it or below it; check the path")
    return utterances


def read_texts(folder: Path) -> dict[str, str]:
    """Return the sentence of each utterance that has one."""
    texts = {}
    for path in [folder / "text", *sorted(folder.rglob("*.trans.txt"))]:
        if path.is_file():
            for line in path.read_text(encoding="utf-8").splitlines():
                utt, _, sentence = line.partition(" ")
                texts[utt] = sentence
    return texts


if __name__ == "__main__":
    run(main)
