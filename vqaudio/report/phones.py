"""Counts which phones each unit represents, and lays out the heat map that shows them."""

from collections import Counter
from typing import NamedTuple

import numpy as np

from vqaudio.errors import UserError
from vqaudio.metrics.phone_scores import Alignment, Codes, frame_phones, joint_counts
from vqaudio.metrics.symbols import SILENCE
from vqaudio.report.embed import picture_uri

MANNERS = (  # in the order of rows: ARPAbet with its variants, then IPA, without stress digits and length marks
    (
        "vowels",
        "IY IX IH EY EH EHR AE AY AA AAR AW AH AX AXR AX-H ER AO AOR OY OW UH UHR UW UX",
        "i ɪ ɨ y e ø ɛ œ æ a ɐ ɑ ɒ ʌ ə ɜ ɝ ɚ ɔ o ʊ u ʉ",
    ),
    ("approximants", "Y W WH R L EL", "j w ʍ ɥ r ɹ ɻ ʁ l ɫ ʎ"),
    ("nasals", "M EM N EN NX NG", "m n ɲ ŋ"),
    ("fricatives", "V DH Z ZH F TH S SH HH HV", "v ð z ʒ β ʝ ɣ f θ s ʃ ç x χ h ɦ"),
    ("affricates", "JH CH", "dʒ tʃ ts dz"),
    ("stops", "B D DX G P T K Q", "b d ɾ ɡ g p t k c q ʔ"),
)
MAX_UNITS = 1024
"""Columns of a heat map; groups of codes can make many more units."""
COLOUR = (42, 143, 196)
"""Red, green and blue of probability 1; lower ones are more transparent, so that it works on light and dark paper."""


class PhoneCounts(NamedTuple):
    """Frames of each phone and unit: names of the phones (Y), of the units (Z), and `counts` (Y, Z)."""

    phones: list[str]
    units: list[str]
    counts: np.ndarray


class HeatMap(NamedTuple):
    """A heat map as the macro `heat_map` of `parts.html` takes it."""

    title: str
    phones: list[str]
    """A row each, from the top."""
    manners: dict[str, int]
    """Manners of articulation from the top, and the number of rows of each."""
    hovers: list[str]
    """A column each: what is shown when it is pointed at."""
    picture: str
    """The cells as a data URI, one pixel each."""
    left_out: int
    """Units that have no column, because they are rare."""


def count_phones(units: Codes, alignment: Alignment, *, frame_rate: float) -> PhoneCounts:
    """Return the frames of each phone and unit, without silence, counted as in the unit metrics.

    Args:
        units: utt -> codes (G, N).
        alignment: utt -> phones, in seconds.
        frame_rate: frames per second (Hz).

    Raises:
        UserError: no frame of an utterance with units is in a phone.
    """
    utts = sorted(units.keys() & alignment.keys())
    named = [frame_phones(alignment[utt], units[utt].shape[1], frame_rate) for utt in utts]
    names = np.concatenate([*named, np.array([], dtype=str)])
    kept = ~np.isin(names, SILENCE)
    if not kept.any():
        raise UserError("no frame of the units is in a phone other than silence; align the same utterances")
    codes = np.concatenate([units[utt] for utt in utts], axis=1)[:, kept]
    columns, symbols = np.unique(codes, axis=1, return_inverse=True)
    phones, index = np.unique(names[kept], return_inverse=True)
    labels = ["-".join(map(str, column)) for column in columns.T]
    return PhoneCounts(phones.tolist(), labels, joint_counts(index, symbols.ravel()))


def manner(phone: str) -> tuple[int, int]:
    """Return the group of a phone in `MANNERS` and its place there; unknown phones come after all groups.

    >>> manner("IY1"), manner("iː"), manner("p"), manner("dʒ")[0] == manner("JH")[0], manner("?")
    ((0, 0), (0, 24), (5, 4), True, (6, 0))
    """
    bare = phone.rstrip("0123456789ː")
    for name in (bare.upper(), bare, bare[:2], bare[:1]):
        for group, (_, *symbols) in enumerate(MANNERS):
            listed = " ".join(symbols).split()
            if name in listed:
                return group, listed.index(name)
    return len(MANNERS), 0


def in_order(table: PhoneCounts) -> PhoneCounts:
    """Return phones sorted by manner and units by their main phone, the purest first; rare units are left out."""
    rows = sorted(range(len(table.phones)), key=lambda row: (*manner(table.phones[row]), table.phones[row]))
    counts = table.counts[rows]
    frequent = np.argsort(-counts.sum(axis=0), kind="stable")[:MAX_UNITS]
    purity = counts[:, frequent].max(axis=0) / counts[:, frequent].sum(axis=0)
    columns = frequent[np.lexsort((-purity, counts[:, frequent].argmax(axis=0)))]
    return PhoneCounts(
        [table.phones[row] for row in rows], [table.units[column] for column in columns], counts[:, columns]
    )


def heat_map(title: str, table: PhoneCounts) -> HeatMap:
    """Lay out P(phone | unit): a row for each phone, by manner, and a column for each unit, by its main phone."""
    shown = in_order(table)
    share = shown.counts / shown.counts.sum(axis=0)
    pixels = np.empty((*share.shape, 4), dtype=np.uint8)
    pixels[..., :3], pixels[..., 3] = COLOUR, np.round(255 * np.sqrt(share))
    left_out = len(table.units) - len(shown.units)
    manners = [MANNERS[group][0] if group < len(MANNERS) else "others" for group, _ in map(manner, shown.phones)]
    hovers = [_hover(shown, share, column) for column in range(len(shown.units))]
    return HeatMap(title, shown.phones, Counter(manners), hovers, picture_uri(pixels), left_out)


def _hover(table: PhoneCounts, share: np.ndarray, column: int) -> str:
    """Return the text of a unit when it is pointed at: its three main phones, and its frames."""
    first = [row for row in np.argsort(-share[:, column], kind="stable")[:3] if share[row, column] > 0]
    phones = ", ".join(f"{table.phones[row]} {share[row, column]:.0%}" for row in first)
    return f"unit {table.units[column]}: {phones}; {int(table.counts[:, column].sum())} frames"
