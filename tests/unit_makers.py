"""Random unit directories, with ids and settings of every kind."""

from pathlib import Path

import numpy as np
from hypothesis import strategies as st

from vqaudio.units import UnitsInfo

odd = st.sampled_from(
    ["alpha.flac", "a.wav", ".wav", "..", "a|b", "|", "/a/b", "a/b.flac/", "x-1", "1 2".replace(" ", "-")]
)
letters = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=6)


@st.composite
def unit_directories(draw, most_groups=3):
    groups, size = draw(st.integers(1, most_groups)), draw(st.integers(1, 4))
    frame = st.lists(st.integers(0, size - 1), min_size=groups, max_size=groups)
    codes = st.lists(frame, min_size=1, max_size=9).map(lambda frames: np.array(frames, dtype=np.int64).T)
    corpus = draw(st.dictionaries(odd | letters, codes, min_size=1, max_size=5))
    info = UnitsInfo(
        16000, 160, 100.0, size, groups, draw(st.booleans()), draw(st.sampled_from(["", "b" * 64])), "0.0.9"
    )
    failed = draw(st.sampled_from([[], [("zz", "zz.wav: broken")]]))
    return info, sorted(corpus.items(), key=lambda item: item[0].encode()), failed


def files_of(folder: Path) -> dict[str, bytes]:
    """Return the names and bytes of the files in a folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}
