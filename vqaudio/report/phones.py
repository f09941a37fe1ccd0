"""Which phones the units stand for, as a heat map."""

import io
from html import escape
from typing import NamedTuple

import numpy as np

from vqaudio.errors import UserError
from vqaudio.metrics.phone_scores import Alignment, Units, frame_phones, joint_counts
from vqaudio.metrics.symbols import SILENCE
from vqaudio.report.embed import png_uri

MANNERS = (  # ARPAbet with its variants, then IPA, in the order of rows; stress digits and length marks do not matter
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
"""Columns of a heat map at most: with groups of codes there may be many more units."""
COLOUR = (42, 143, 196)
"""Of probability 1; the page shows through where it is less, so that light and dark both do."""
WIDTH, LEFT, RIGHT, TOP, ROW = 1000, 44, 92, 8, 13


class PhoneCounts(NamedTuple):
    """Frames of each phone and unit: names of the phones (Y), of the units (Z), and `counts` (Y, Z)."""

    phones: list[str]
    units: list[str]
    counts: np.ndarray


def count_phones(units: Units, alignment: Alignment, *, frame_rate: float) -> PhoneCounts:
    """Count the frames of each phone and unit, without silence, as the unit metrics do.

    Args:
        units: utt -> codes (G, N).
        alignment: utt -> phones, in seconds.
        frame_rate: frames per second (Hz).

    Raises:
        UserError: no frame of an utterance with units lies in a phone.
    """
    utts = sorted(units.keys() & alignment.keys())
    named = [frame_phones(alignment[utt], units[utt].shape[1], frame_rate) for utt in utts]
    names = np.concatenate([*named, np.array([], dtype=str)])
    kept = ~np.isin(names, ["", *SILENCE])
    if not kept.any():
        raise UserError("no frame of its units lies in a phone other than silence; align the same utterances")
    codes = np.concatenate([units[utt] for utt in utts], axis=1)[:, kept]
    columns, symbols = np.unique(codes, axis=1, return_inverse=True)
    phones, index = np.unique(names[kept], return_inverse=True)
    labels = ["-".join(map(str, column)) for column in columns.T]
    return PhoneCounts(phones.tolist(), labels, joint_counts(index, symbols.ravel()))


def manner(phone: str) -> tuple[int, int]:
    """Return where a phone stands in `MANNERS`: its group and its place there; unknown ones come after all groups.

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
    """Sort phones by manner, and units by their main phone, the surest first; keep the most frequent units only."""
    rows = sorted(range(len(table.phones)), key=lambda row: (*manner(table.phones[row]), table.phones[row]))
    counts = table.counts[rows]
    frequent = np.argsort(-counts.sum(axis=0), kind="stable")[:MAX_UNITS]
    sureness = counts[:, frequent].max(axis=0) / counts[:, frequent].sum(axis=0)
    columns = frequent[np.lexsort((-sureness, counts[:, frequent].argmax(axis=0)))]
    return PhoneCounts(
        [table.phones[row] for row in rows], [table.units[column] for column in columns], counts[:, columns]
    )


def heat_map(title: str, table: PhoneCounts) -> str:
    """Draw P(phone | unit): a row a phone, by manner, a column a unit, by main phone; pointing at a unit names it."""
    shown = in_order(table)
    height = TOP + ROW * len(shown.phones) + 22
    share = shown.counts / shown.counts.sum(axis=0)
    pixels = np.empty((*share.shape, 4), dtype=np.uint8)
    pixels[..., :3], pixels[..., 3] = COLOUR, np.round(255 * np.sqrt(share))
    inside, bottom = WIDTH - LEFT - RIGHT, TOP + ROW * len(shown.phones)
    parts = [
        f'<rect class="frame" x="{LEFT}" y="{TOP}" width="{inside}" height="{bottom - TOP}"/>',
        f'<image x="{LEFT}" y="{TOP}" width="{inside}" height="{bottom - TOP}" preserveAspectRatio="none" '
        f'href="{_png(pixels)}"/>',
        *_rows(shown.phones),
        *_columns(shown, share, inside / len(shown.units), bottom),
        f'<text class="tick" x="{LEFT + inside / 2}" y="{height - 6}" text-anchor="middle">'
        f"{len(shown.units)} units, by the phone that they mostly stand for</text>",
    ]
    left_out = len(table.units) - len(shown.units)
    note = f"; the {left_out} rarest units are left out" if left_out else ""
    key = '<span class="ramp"></span> share of the frames of a unit, 0 to 1 (the shade is its square root)'
    return (
        f'<figure class="map"><h3>{escape(title)}</h3><div class="scroll" tabindex="0" role="region" '
        f'aria-label="{escape(title)}: phones of units"><svg viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-label="share of each phone in the frames of each unit">{"".join(parts)}</svg></div>'
        f"<figcaption>{key}{note}</figcaption></figure>"
    )


def _rows(phones: list[str]) -> list[str]:
    """Draw the names of the phones, the lines between manners of articulation, and their names."""
    parts, groups = [], [manner(phone)[0] for phone in phones]
    for row, (phone, group) in enumerate(zip(phones, groups, strict=True)):
        y = TOP + ROW * row
        parts.append(f'<text class="tick" x="{LEFT - 5}" y="{y + 10}" text-anchor="end">{escape(phone)}</text>')
        if row == 0 or group != groups[row - 1]:
            name = MANNERS[group][0] if group < len(MANNERS) else "others"
            middle = y + ROW * groups.count(group) / 2 + 3.5
            parts.append(f'<text class="tick" x="{WIDTH - RIGHT + 8}" y="{middle:.1f}">{name}</text>')
            if row:
                parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - 4}" y1="{y}" y2="{y}"/>')
    return parts


def _columns(table: PhoneCounts, share: np.ndarray, width: float, bottom: int) -> list[str]:
    """Draw invisible columns that name their unit when pointed at."""
    parts = []
    for column, unit in enumerate(table.units):
        first = [row for row in np.argsort(-share[:, column], kind="stable")[:3] if share[row, column] > 0]
        says = ", ".join(f"{table.phones[row]} {share[row, column]:.0%}" for row in first)
        frames = int(table.counts[:, column].sum())
        parts.append(
            f'<rect class="over" x="{LEFT + column * width:.2f}" y="{TOP}" width="{width:.2f}" '
            f'height="{bottom - TOP}"><title>{escape(f"unit {unit}: {says}; {frames} frames")}</title></rect>'
        )
    return parts


def _png(pixels: np.ndarray) -> str:
    from matplotlib import image

    file = io.BytesIO()
    image.imsave(file, pixels, format="png")
    return png_uri(file)
