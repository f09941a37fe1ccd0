"""Make two test sets of speakers that the released model has not heard, OUT/test_speechocean762 and _librispeech.

The first is every fifth utterance of speechocean762's test half, with phones that pocketsphinx aligns to the text; the
second is what there is of LibriSpeech's dev-clean in a folder, with the phones of SpidR (JSON lines, 100 Hz).
"""

import argparse
import gzip
import itertools
import json
from collections.abc import Mapping
from pathlib import Path

import soundfile
from data_prep import LIBRISPEECH, read_named, read_speechocean762

from vqaudio import datadir
from vqaudio.datadir import Phone, Utterance
from vqaudio.datadir.layout import DATA_DIRECTORY
from vqaudio.outputs import claim_folder

UTTERANCE_STEP = 5
FRAME = 0.01
"""Seconds of a frame of both alignments."""
LAG = 0.012
"""Seconds by which phones of pocketsphinx come too early: half of its window."""


def main() -> None:
    """Write the data directories, and print their sizes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--speechocean762", type=Path, required=True, help="clone of jimbozhang/speechocean762")
    parser.add_argument("--librispeech", type=Path, required=True, help="folder with .wav files of dev-clean")
    parser.add_argument("--librispeech-phones", type=Path, required=True, help="phoneme-dev-clean-and-other.jsonl.gz")
    parser.add_argument("--librispeech-text", type=Path, required=True, help="a .trans.txt; other utterances are left")
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    clone = args.speechocean762
    utterances = read_speechocean762(clone, "test")[::UTTERANCE_STEP]
    texts = datadir.read_table(clone / "test" / "text")
    text = {u.utt: texts[u.utt.partition("-")[2]] for u in utterances}
    write_set(args.out / "test_speechocean762", utterances, text, align(utterances, text))
    text = {f"ls{utt}": words for utt, words in datadir.read_table(args.librispeech_text).items()}
    utterances = [u for u in read_named([args.librispeech], "ls", LIBRISPEECH, ".wav") if u.utt in text]
    phones = {f"ls{utt}": found for utt, found in read_phones(args.librispeech_phones).items()}
    write_set(args.out / "test_librispeech", utterances, text, phones)


def align(utterances: list[Utterance], text: Mapping[str, str]) -> dict[str, list[Phone]]:
    """Return the phones of each utterance that pocketsphinx can align; silences are SIL."""
    from pocketsphinx import Decoder

    decoder = Decoder(lm=None, loglevel="FATAL")
    phones = {}
    for utterance in utterances:
        words = text[utterance.utt].lower()
        if any(decoder.lookup_word(word) is None for word in words.split()):
            continue
        wav = soundfile.read(utterance.path, dtype="int16")[0].tobytes()
        try:
            decoder.set_align_text(words)
            decode(decoder, wav)
            decoder.set_alignment()
            decode(decoder, wav)
        except RuntimeError:  # the text does not fit what was said
            continue
        aligned = [phone for word in decoder.get_alignment() for phone in word]
        ends = [LAG + FRAME * (p.start + p.duration) for p in aligned]
        starts = [0.0, *ends[:-1]]
        phones[utterance.utt] = [Phone(s, e - s, p.name) for p, s, e in zip(aligned, starts, ends, strict=True)]
    return phones


def decode(decoder: "Decoder", wav: bytes) -> None:  # noqa: F821
    """Run the aligner over an utterance."""
    decoder.start_utt()
    decoder.process_raw(wav, full_utt=True)
    decoder.end_utt()


def read_phones(path: Path) -> dict[str, list[Phone]]:
    """Return the phones of each utterance in SpidR's file of frame labels."""
    phones = {}
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            about = json.loads(line)
            start, found = 0, []
            for name, frames in itertools.groupby(about["phones"]):
                length = len(list(frames))
                found.append(Phone(start * FRAME, length * FRAME, name))
                start += length
            phones[about["name"]] = found
    return phones


def write_set(
    folder: Path, utterances: list[Utterance], text: Mapping[str, str], phones: Mapping[str, list[Phone]]
) -> None:
    """Write the utterances that have phones as one data directory, and print its size."""
    aligned = [u for u in utterances if u.utt in phones]
    claim_folder(folder, DATA_DIRECTORY)
    datadir.write_utterances(folder, aligned, text={u.utt: text[u.utt] for u in aligned})
    datadir.write_ctm(folder / "phones.ctm", {u.utt: phones[u.utt] for u in aligned})
    speakers = len({u.speaker for u in aligned})
    print(
        f"{folder}: {len(aligned)} utterances of {speakers} speakers, {len(utterances) - len(aligned)} without phones"
    )


if __name__ == "__main__":
    main()
