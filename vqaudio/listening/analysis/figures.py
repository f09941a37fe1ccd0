"""Analyses a test: decides who counts, computes all figures, and writes them as CSV, JSON and a page."""

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vqaudio import __version__, files
from vqaudio.errors import UserError
from vqaudio.files import locked
from vqaudio.listening.analysis.claims import CONFIDENCE
from vqaudio.listening.analysis.comparisons import analyse_discrimination, analyse_preference
from vqaudio.listening.analysis.export import clock_date, long_csv, replies_csv
from vqaudio.listening.analysis.ratings import Results, read_results
from vqaudio.listening.analysis.scales import analyse_scale
from vqaudio.listening.analysis.screening import Verdict, has_mid_anchor, verdicts
from vqaudio.listening.key import ANCHOR_3500
from vqaudio.outputs import claim_folder

TITLES = {
    "mushra": "MUSHRA",
    "acr": "ACR, mean opinion scores (ITU-T P.800, P.808)",
    "dcr": "DCR, degradation mean opinion scores (ITU-T P.800, P.808)",
    "smos": "SMOS, mean opinion scores of similarity",
    "words": "Words typed as heard, per cent wrong",
    "ccr": "CCR, comparison mean opinion scores (ITU-T P.800, P.808)",
    "ab": "AB preference",
    "abx": "ABX discrimination",
}


def write_analysis(
    test: Path, out: Path, *, exclude: Mapping[str, str] | None = None, screening: bool = True
) -> dict[str, Any]:
    """Write ratings.csv, analysis.json and analysis.html of a test folder to `out`, and return the figures.

    `exclude` and `screening` are those of `analyse`. ratings.csv holds every rating, with those of excluded listeners;
    it is written even if there are too few listeners for the other files. If the study asks questions, questions.csv
    has the answers.

    Raises:
        UserError: the folder contains no test, nobody has rated yet, a listener to exclude has not rated, fewer than
            two listeners count (ABX: none), or `out` may not be written into.
    """
    from vqaudio.listening.analysis.page import analysis_page

    results = read_results(test)
    if not results.ratings:
        raise UserError(f"{test}: no ratings yet; send the links and run this after listeners have answered")
    found = verdicts(results, exclude or {}, screening=screening)
    claim_folder(out, "listening analysis", outer=[test])
    with locked(out):
        files.atomic_write(out / "ratings.csv", long_csv(results, found))
        if any(results.replies.values()):
            files.atomic_write(out / "questions.csv", replies_csv(results))
        try:
            analysis = analyse(results, exclude=exclude, screening=screening)
        except UserError as error:
            raise UserError(f"{test}: {error}; find more listeners (ratings.csv has all ratings)") from None
        files.atomic_write(out / "analysis.json", json.dumps(analysis, indent=1, allow_nan=False) + "\n")
        files.atomic_write(out / "analysis.html", analysis_page(analysis, test.resolve().name))
    return analysis


def analyse(results: Results, *, exclude: Mapping[str, str] | None = None, screening: bool = True) -> dict[str, Any]:
    """Return all figures of a test, ready for JSON; the same results give the same figures.

    Args:
        results: all ratings.
        exclude: listeners to leave out, with a reason each.
        screening: whether post-screening and failed checks exclude listeners; they are reported in any case.

    Raises:
        UserError: a listener to exclude has not rated, or fewer than two listeners count (ABX: none).
    """
    found = verdicts(results, exclude or {}, screening=screening)
    ratings = [rating for rating in results.ratings if not found[rating.listener].excluded]
    kept = {rating.listener for rating in ratings}
    needed = 1 if results.type == "abx" else 2
    if len(kept) < needed:
        excluded = len(found) - len(kept)
        raise UserError(
            f"{len(kept)} of {len(found)} listeners count ({excluded} excluded), but at least {needed} must"
        )
    if results.type == "abx":
        figures = analyse_discrimination(ratings)
    elif results.type in ("ccr", "ab"):
        figures = analyse_preference(ratings, results.type)
    else:
        figures = analyse_scale(ratings, results.type)
    return {
        "type": results.type,
        "title": title(results),
        "attribute": results.attribute,
        "vqaudio": __version__,
        "sample_rate": results.sample_rate,
        "seed": results.seed,
        "interval_level": CONFIDENCE,
        "ratings": len(ratings),
        "items": len({rating.item for rating in ratings}),
        "asked_items": results.asked_items,
        "listeners": {"rated": len(found), "kept": len(kept), "excluded": len(found) - len(kept)},
        "screening_applied": screening,
        "screening": _people(results, found),
        **figures,
    }


def title(results: Results) -> str:
    """Return the name of the method; without both anchors it is not MUSHRA (BS.1534-3)."""
    systems = {rating.system for rating in results.ratings}
    both = ANCHOR_3500 in systems and has_mid_anchor(results.ratings, results.sample_rate)
    name = TITLES[results.type] if results.type != "mushra" or both else "MUSHRA-style"
    return f"{name}: {results.attribute}" if results.attribute else name


def _people(results: Results, found: Mapping[str, Verdict]) -> list[dict[str, Any]]:
    """Return for each listener who began: answers, time, the counts of the rules, and the reasons for an exclusion.

    `reasons` are those of the rules, `excluded` those for which the listener does not count.
    """
    rated = Counter(rating.listener for rating in results.ratings)
    began = {name for name, person in results.people.items() if person.started_ms is not None}
    lines = []
    for listener in sorted(found.keys() | began):
        reasons = list(results.failed.get(listener, ()))
        line: dict[str, Any] = {"listener": listener, "ratings": rated[listener], "reasons": reasons, "excluded": []}
        if person := results.people.get(listener):
            line |= {"of": person.of, "date": clock_date(person.started_ms)}
            line |= {"minutes": person.minutes, "outcome": person.outcome}
        else:
            line |= {"of": None, "date": None, "minutes": None, "outcome": None}
        if verdict := found.get(listener):
            line |= {"reasons": list(verdict.reasons), "excluded": list(verdict.excluded)}
            counts = vars(verdict.screened) if verdict.screened else {}
            line |= {name: value for name, value in counts.items() if name not in ("listener", "reasons")}
        lines.append(line)
    return lines
