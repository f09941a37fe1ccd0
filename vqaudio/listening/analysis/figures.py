"""Analyses a test: screens its listeners, computes all figures, and writes them as CSV, JSON and a page."""

import csv
import io
import json
from collections import Counter
from pathlib import Path
from typing import Any

from vqaudio import __version__, files
from vqaudio.errors import UserError
from vqaudio.files import locked
from vqaudio.listening.analysis.comparisons import analyse_discrimination, analyse_preference
from vqaudio.listening.analysis.ratings import Rating, Results, read_results
from vqaudio.listening.analysis.scales import analyse_scale
from vqaudio.listening.analysis.screening import Screened, has_mid_anchor, post_screen
from vqaudio.listening.analysis.statistics import CONFIDENCE, RESAMPLES
from vqaudio.listening.key import ANCHOR_3500
from vqaudio.outputs import claim_folder

TITLES = {
    "mushra": "MUSHRA",
    "acr": "ACR, mean opinion scores (ITU-T P.800, P.808)",
    "dcr": "DCR, degradation mean opinion scores (ITU-T P.800, P.808)",
    "ccr": "CCR, comparison mean opinion scores (ITU-T P.800, P.808)",
    "ab": "AB preference",
    "abx": "ABX discrimination",
}
COLUMNS = ("type", "listener", "item", "system", "other", "value", "excluded")
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet reads a cell that begins so as a formula


def write_analysis(test: Path, out: Path) -> dict[str, Any]:
    """Write ratings.csv, analysis.json and analysis.html of a test folder to `out`, and return the figures.

    ratings.csv holds every rating, with those of excluded listeners; it is written even if there are too few listeners
    for the other files.

    Raises:
        UserError: the folder contains no test, nobody has rated yet, fewer than two listeners count (ABX: none), or
            `out` may not be written into.
    """
    from vqaudio.listening.analysis.page import analysis_page

    results = read_results(test)
    if not results.ratings:
        raise UserError(f"{test}: no ratings yet; send the links and run this after listeners have answered")
    claim_folder(out, "listening analysis", outer=[test])
    with locked(out):
        screened = screen(results)
        files.atomic_write(out / "ratings.csv", long_csv(results, screened))
        try:
            analysis = analyse(results)
        except UserError as error:
            raise UserError(f"{test}: {error}; find more listeners (ratings.csv has all ratings)") from None
        files.atomic_write(out / "analysis.json", json.dumps(analysis, indent=1, allow_nan=False) + "\n")
        files.atomic_write(out / "analysis.html", analysis_page(analysis, test.resolve().name))
    return analysis


def analyse(results: Results) -> dict[str, Any]:
    """Return all figures of a test, ready for JSON; the same results give the same figures.

    Raises:
        UserError: fewer than two listeners count (ABX: none).
    """
    screened = screen(results)
    excluded = {found.listener for found in screened if found.reasons}
    ratings = [rating for rating in results.ratings if rating.listener not in excluded]
    kept = {rating.listener for rating in ratings}
    needed = 1 if results.type == "abx" else 2
    if len(kept) < needed:
        raise UserError(
            f"{len(kept)} of {len(kept) + len(excluded)} listeners count ({len(excluded)} excluded by post-screening), "
            f"but at least {needed} must"
        )
    if results.type == "abx":
        figures = analyse_discrimination(ratings)
    elif results.type in ("ccr", "ab"):
        figures = analyse_preference(ratings, results.type, results.seed)
    else:
        figures = analyse_scale(ratings, results.seed)
    return {
        "type": results.type,
        "title": title(results),
        "vqaudio": __version__,
        "sample_rate": results.sample_rate,
        "seed": results.seed,
        "interval_level": CONFIDENCE,
        "bootstrap_resamples": RESAMPLES,
        "ratings": len(ratings),
        "items": len({rating.item for rating in ratings}),
        "listeners": {"rated": len(kept) + len(excluded), "kept": len(kept), "excluded": len(excluded)},
        "screening": _screening(results, screened),
        **figures,
    }


def screen(results: Results) -> list[Screened]:
    """Return the post-screening of a MUSHRA test; other types have no such rules."""
    return post_screen(results.ratings, results.sample_rate) if results.type == "mushra" else []


def title(results: Results) -> str:
    """Return the name of the method; without both anchors it is not MUSHRA (BS.1534-3)."""
    systems = {rating.system for rating in results.ratings}
    both = ANCHOR_3500 in systems and has_mid_anchor(results.ratings, results.sample_rate)
    return TITLES[results.type] if results.type != "mushra" or both else "MUSHRA-style"


def long_csv(results: Results, screened: list[Screened]) -> str:
    """Return all ratings as CSV, sorted, one in each row; `excluded` is why the listener was excluded.

    Text that a spreadsheet would read as a formula gets an apostrophe before it.
    """
    reasons = {found.listener: "; ".join(found.reasons) for found in screened}
    rows = []
    for rating in sorted(results.ratings, key=_csv_order):
        texts = (results.type, rating.listener, rating.item, rating.system, rating.other or "")
        reason = reasons.get(rating.listener, "")
        rows.append([*map(_plain, texts), f"{rating.value:.12g}", _plain(reason)])
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(rows)
    return text.getvalue()


def _csv_order(rating: Rating) -> tuple[str, str, str, str]:
    return rating.listener, rating.item, rating.system, rating.other or ""


def _plain(text: str) -> str:
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text


def _screening(results: Results, screened: list[Screened]) -> list[dict[str, Any]]:
    """Return for each listener the number of ratings, the counts of the rules, and the reasons for an exclusion."""
    rated = Counter(rating.listener for rating in results.ratings)
    found = {item.listener: item for item in screened}
    lines = []
    for listener in sorted(rated):
        line: dict[str, Any] = {"listener": listener, "ratings": rated[listener]}
        if listener in found:
            line |= {name: value for name, value in vars(found[listener]).items() if name != "reasons"}
        line["reasons"] = list(found[listener].reasons) if listener in found else []
        lines.append(line)
    return lines
