"""Stage -1: VCTK 0.92 into OUT (its zip file has no top folder; the second microphone is left in the zip)."""

import argparse
import logging
from pathlib import Path

from script import run

from vqaudio.corpora.download import VCTK_092, download, unzip


def main() -> None:
    """Download and unpack; both go on where an interrupted run stopped."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    archive = args.out.with_name(f"{args.out.name}.zip")
    download(VCTK_092, archive)
    count = unzip(archive, args.out, wanted=lambda name: not name.endswith("_mic2.flac"))
    print(f"{args.out}: {count} files")


if __name__ == "__main__":
    run(main)
