"""Print a utt2spk in which every utterance has another of the speakers: swap_speakers.py UTT2SPK.

The speakers, sorted, are rotated by half their number, so that each keeps one other voice.
"""

import sys
from pathlib import Path

from script import run

from vqaudio.datadir import read_table
from vqaudio.errors import UserError


def main() -> None:
    """Print the table."""
    path = Path(sys.argv[1])
    speaker_of = read_table(path)
    speakers = sorted(set(speaker_of.values()))
    if len(speakers) < 2:
        raise UserError(f"{path}: one speaker only; a swap needs two")
    half = len(speakers) // 2
    other = dict(zip(speakers, speakers[half:] + speakers[:half], strict=True))
    for utt, speaker in speaker_of.items():
        print(utt, other[speaker])


if __name__ == "__main__":
    run(main)
