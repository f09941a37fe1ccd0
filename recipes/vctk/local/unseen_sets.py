"""Make data directories from two corpora that have phone times, for training, choices and tests on unseen speakers.

OUT/test_librispeech contains the speakers --librispeech-speakers, OUT/test_vctk every fifth speaker of the corpus in
VCTK's layout, in the order of their ids, OUT/dev every fifth one from the second on; OUT/train and OUT/valid contain
the other speakers of both. All choices are made with these, by the scores on dev. OUT/train_all is train with dev, for
the models that are then scored on the test sets, once.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path

from librispeech_data import read_librispeech
from script import run

from vqaudio import datadir
from vqaudio.corpora import vctk
from vqaudio.datadir import Phone, Utterance
from vqaudio.datadir.layout import DATA_DIRECTORY
from vqaudio.outputs import claim_folder

VALID_STEP = 40  # one in as many utterances of the training speakers is for valid
SPEAKER_STEP = 5  # one in as many speakers is for test, and the next one for dev


def main() -> None:
    """Write the data directories."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vctk-root", type=Path, required=True)
    parser.add_argument("--vctk-alignment", type=Path, required=True, help="phone times (CTM)")
    parser.add_argument("--librispeech", type=Path, required=True, help="folder of .flac files and phones.ctm")
    parser.add_argument("--librispeech-speakers", type=str.split, required=True, metavar="'ID ID …'")
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    vctk_utterances = sorted(vctk.read(args.vctk_root).utterances, key=lambda u: u.utt)
    librispeech = read_librispeech(args.librispeech)
    speakers = sorted({u.speaker for u in vctk_utterances})
    test, dev = set(speakers[::SPEAKER_STEP]), set(speakers[1::SPEAKER_STEP])
    others = [u for u in vctk_utterances if u.speaker not in test | dev]
    others += [u for u in librispeech if u.speaker not in args.librispeech_speakers]
    phones = {**datadir.read_ctm(args.vctk_alignment), **datadir.read_ctm(args.librispeech / "phones.ctm")}
    valid = others[::VALID_STEP]
    train = [u for u in others if u not in valid]
    sets = {
        "train": train,
        "valid": valid,
        "train_all": sorted(train + [u for u in vctk_utterances if u.speaker in dev], key=lambda u: u.utt),
        "dev": [u for u in vctk_utterances if u.speaker in dev and u.utt in phones],
        "test_librispeech": [u for u in librispeech if u.speaker in args.librispeech_speakers and u.utt in phones],
        "test_vctk": [u for u in vctk_utterances if u.speaker in test and u.utt in phones],
    }
    for name, utterances in sets.items():
        write_set(args.out / name, utterances, phones)


def write_set(folder: Path, utterances: list[Utterance], phones: Mapping[str, list[Phone]]) -> None:
    """Write one data directory, and print its size."""
    claim_folder(folder, DATA_DIRECTORY)
    datadir.write_utterances(folder, utterances)
    datadir.write_ctm(folder / "phones.ctm", {u.utt: phones[u.utt] for u in utterances if u.utt in phones})
    print(f"{folder}: {len(utterances)} utterances of {len({u.speaker for u in utterances})} speakers")


if __name__ == "__main__":
    run(main)
