"""Write a utt2spk in which every utterance has another speaker of the set: swap_speakers.py UTT2SPK OUT.

The speakers, sorted, are rotated by half their number, so each of them always gets the same other voice. A set with one
speaker has no swap: OUT is then removed.
"""

import sys
from pathlib import Path

from script import run

from vqaudio.datadir import read_table, write_table


def main() -> None:
    """Write OUT, or remove it if there is one speaker only."""
    speaker_of, out = read_table(Path(sys.argv[1])), Path(sys.argv[2])
    speakers = sorted(set(speaker_of.values()))
    half = len(speakers) // 2
    other = dict(zip(speakers, speakers[half:] + speakers[:half], strict=True))
    if half > 0:
        write_table(out, {utt: other[speaker] for utt, speaker in speaker_of.items()})
    else:
        out.unlink(missing_ok=True)


if __name__ == "__main__":
    run(main)
