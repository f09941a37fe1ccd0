"""Make the data directories of the released model from clones of public corpora: OUT/train and OUT/valid.

All of speechocean762's train half, LibriSpeech and VCTK as far as they are given. Names of speakers get the prefix of
their corpus (so, ls, vctk), so that they cannot collide. One in 80 utterances is for validation.
"""

import argparse
import re
from pathlib import Path

from vqaudio import datadir
from vqaudio.datadir import Utterance
from vqaudio.datadir.layout import DATA_DIRECTORY
from vqaudio.errors import UserError
from vqaudio.outputs import claim_folder

VALID_STEP = 80

LIBRISPEECH = re.compile(r"(\d+)-\d+-\d+")
VCTK = re.compile(r"(p\d+)_\d+")


def main() -> None:
    """Write the data directories, and print their sizes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--speechocean762", type=Path, required=True, help="clone of jimbozhang/speechocean762")
    parser.add_argument(
        "--librispeech",
        type=Path,
        action="append",
        default=[],
        help="a folder with .flac files at any depth; may be repeated",
    )
    parser.add_argument(
        "--vctk",
        type=Path,
        action="append",
        default=[],
        help="a folder with p225_001.wav, … at any depth; may be repeated",
    )
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    utterances = read_speechocean762(args.speechocean762, "train")
    utterances += read_named(args.librispeech, "ls", LIBRISPEECH, ".flac")
    utterances += read_named(args.vctk, "vctk", VCTK, ".wav")
    utterances.sort(key=lambda u: u.utt)
    valid = utterances[::VALID_STEP]
    for name, chosen in (("train", [u for u in utterances if u not in valid]), ("valid", valid)):
        claim_folder(args.out / name, DATA_DIRECTORY)
        datadir.write_utterances(args.out / name, chosen)
        print(f"{args.out / name}: {len(chosen)} utterances of {len({u.speaker for u in chosen})} speakers")


def read_speechocean762(clone: Path, half: str) -> list[Utterance]:
    """Return the utterances of the half `train` or `test`."""
    speakers = datadir.read_table(clone / half / "utt2spk")
    paths = datadir.read_table(clone / half / "wav.scp")
    return [
        Utterance(f"so{speaker}-{utt}", (clone / paths[utt]).absolute(), f"so{speaker}")
        for utt, speaker in speakers.items()
    ]


def read_named(folders: list[Path], corpus: str, name: re.Pattern[str], suffix: str) -> list[Utterance]:
    """Return the recordings whose names are those of a corpus, each once; the first folder that has it counts."""
    found: dict[str, Utterance] = {}
    for folder in folders:
        for path in sorted(folder.rglob(f"*{suffix}")):
            if match := name.fullmatch(path.stem):
                utt = f"{corpus}{path.stem}"
                found.setdefault(utt, Utterance(utt, path.absolute(), f"{corpus}{match[1]}"))
        if not any(u.path.is_relative_to(folder.absolute()) for u in found.values()):
            raise UserError(f"{folder}: no new {suffix} file of {corpus} in it or below it; check the path")
    return list(found.values())


if __name__ == "__main__":
    main()
