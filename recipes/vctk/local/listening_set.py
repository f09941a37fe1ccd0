"""Copy some utterances of a data directory, drawn by a fixed seed: listening_set.py DATA OUT N.

A listening test has few utterances, and what is made for it alone need not be made for all others.
"""

import random
import sys
from pathlib import Path

from script import run

from vqaudio.datadir import copy_subset, read_utterances


def main() -> None:
    """Copy at most N utterances."""
    data, out, most = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    utterances = sorted(read_utterances(data), key=lambda utterance: utterance.utt)
    drawn = random.Random("listening").sample(utterances, min(most, len(utterances)))
    copy_subset(data, out, sorted(drawn, key=lambda utterance: utterance.utt))


if __name__ == "__main__":
    run(main)
