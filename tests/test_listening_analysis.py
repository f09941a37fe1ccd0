"""Simulated panels with known preferences and faults: figures, CSV, JSON, page, and the command."""

import csv
import io
import json
import math
import re
import subprocess
import sys
import time

import numpy as np
import pytest
from finished_run import Page

from vqaudio.cli.listen_analyse import add_analyse
from vqaudio.cli.parser import Parser
from vqaudio.errors import UserError
from vqaudio.listening.analysis import figures
from vqaudio.listening.analysis.export import COLUMNS, long_csv
from vqaudio.listening.analysis.figures import analyse, write_analysis
from vqaudio.listening.analysis.page import analysis_page
from vqaudio.listening.analysis.ratings import Person, Rating, Results
from vqaudio.listening.analysis.screening import verdicts
from vqaudio.listening.analysis.text import cautions, findings, summary
from vqaudio.listening.key import Key, Stimulus, Trial, write_key
from vqaudio.listening.people import add_listeners
from vqaudio.listening.store import Event, Store

QUALITY = {"reference": 98, "k-means": 65, "gumbel": 57, "swap": 40, "anchor_7000": 48, "anchor_3500": 20}
STRENGTHS = {"k-means": 0.8, "gumbel": 0.2, "swap": -1.0}
SCALES = {
    "mushra": (0, 100, 1.0),
    "acr": (1, 5, 0.05),
    "dcr": (1, 5, 0.05),
    "smos": (1, 5, 0.05),
    "words": (0, 200, 1.0),
}


def scale_panel(kind: str = "mushra", listeners: int = 11, items: int = 8, sample_rate: int = 48000) -> Results:
    """Listeners with a bias of their own rate systems of known quality with noise."""
    rng = np.random.default_rng(7)
    low, high, step = SCALES[kind]
    found = []
    for listener in range(listeners):
        bias = rng.normal(0, 5)
        for item in range(items):
            for system, quality in QUALITY.items():
                if system.startswith("anchor") and (
                    kind != "mushra" or (sample_rate < 48000 and system == "anchor_7000")
                ):
                    continue
                points = max(quality, 95) if system == "reference" else quality + bias + rng.normal(0, 8)
                value = float(np.clip(round(points * step), low, high))
                found.append(Rating(f"L{listener:02d}", f"i{item}", system, value))
    return Results(kind, found, sample_rate, 11)


def pair_panel(kind: str, listeners: int = 11, items: int = 6) -> Results:
    """Listeners compare systems of known strengths."""
    rng = np.random.default_rng(8)
    names, found = list(STRENGTHS), []
    for number in range(listeners * items * 3):
        listener, item = number // (items * 3), number // 3 % items
        a, b = [(0, 1), (0, 2), (1, 2)][number % 3]
        s = STRENGTHS[names[a]] - STRENGTHS[names[b]]
        if kind == "ccr":
            value = float(np.clip(round(s + rng.normal(0, 1)), -3, 3))
        else:
            chance = 1 / (1 + math.exp(-s)) if kind == "ab" else 0.5 + abs(s) / 4
            value = float(rng.random() < chance)
        found.append(Rating(f"L{listener:02d}", f"i{item}", names[a], value, names[b]))
    return Results(kind, found, 16000, 11)


def panel(kind: str) -> Results:
    return scale_panel(kind) if kind in SCALES else pair_panel(kind)


def pair_of(figures: dict, a: str, b: str) -> dict:
    return next(pair for pair in figures["pairs"] if {pair["a"], pair["b"]} == {a, b})


def test_a_panel_with_known_qualities_is_recovered():
    figures = analyse(scale_panel())
    assert [system["system"] for system in figures["systems"]] == list(QUALITY)
    for described in figures["systems"]:
        claim = described["these_items"]
        assert claim["low95"] <= described["mean"] <= claim["high95"]
        if described["system"] != "reference":
            assert described["mean"] == pytest.approx(QUALITY[described["system"]], abs=4)
            assert claim["low95"] - 2 < QUALITY[described["system"]] < claim["high95"] + 2
    assert figures["omnibus"]["p"] < 1e-4
    assert figures["omnibus"]["systems"] == 3
    assert len(figures["pairs"]) == 6  # the reference and three systems; no anchors
    best = pair_of(figures, "k-means", "gumbel")
    assert best["difference"] == pytest.approx(8, abs=2)
    assert best["these_items"]["low95"] < 8 < best["these_items"]["high95"]
    assert any(
        re.match(
            r"k-means is better than gumbel by 8\.\d\d: .* for these items \(p <0.001\), .* for items like", sentence
        )
        for sentence in findings(figures)
    )
    for pair in figures["pairs"]:
        assert pair["wilcoxon_p_holm"] < 0.01
        assert pair["sign_flip_p_holm"] < 0.01
        assert pair["items_like_these"]["p_holm"] < 0.01


def test_systems_of_equal_quality_are_not_told_apart():
    rng = np.random.default_rng(0)
    found = [
        Rating(f"L{listener}", f"i{item}", system, float(rng.integers(1, 6)))
        for listener in range(12)
        for item in range(5)
        for system in "ABC"
    ]
    figures = analyse(Results("acr", found, 16000, 0))
    assert figures["omnibus"]["p"] > 0.05
    assert all(pair["wilcoxon_p_holm"] > 0.05 for pair in figures["pairs"])
    group, *pairs = findings(figures)
    assert group.startswith("No difference was found between the systems as a group")
    assert all(sentence.startswith("No difference was found between") for sentence in pairs)
    assert all(
        re.search(r"[A-C] − [A-C] is between −\d\.\d\d and \+\d\.\d\d for these items", sentence) for sentence in pairs
    )


def test_mean_median_and_differences_are_the_hand_computed_ones():
    """A: 1, 2, 3, 5 and B: 1, 1, 2, 2 by two listeners on two items: listeners' mean differences are 0.5 and 2."""
    values = {("L1", "i1"): (1, 1), ("L1", "i2"): (2, 1), ("L2", "i1"): (3, 2), ("L2", "i2"): (5, 2)}
    found = [
        Rating(listener, item, system, float(value))
        for (listener, item), both in values.items()
        for system, value in zip("AB", both, strict=True)
    ]
    figures = analyse(Results("acr", found, 16000, 0))
    a, b = figures["systems"]
    assert (a["mean"], a["box"]["median"], a["listener_means"]) == (2.75, 2.5, {"L1": 1.5, "L2": 4.0})
    assert a["sd"] == pytest.approx(math.sqrt(8.75 / 3))
    assert (b["mean"], b["box"]["median"]) == (1.5, 1.5)
    (pair,) = figures["pairs"]
    assert (pair["a"], pair["difference"], pair["listeners"]) == ("A", 1.25, 2)
    half = 12.7062 * 0.75  # t of one degree of freedom; the standard error of 0.5 and 2
    assert pair["these_items"]["high95"] == pytest.approx(1.25 + half, rel=1e-4)
    assert figures["omnibus"] is None
    assert figures["by_item"] == [
        {"item": "i1", "means": {"A": 2.0, "B": 1.5}},
        {"item": "i2", "means": {"A": 3.5, "B": 1.5}},
    ]


def test_a_pair_counts_only_items_of_which_a_listener_rated_both():
    results = scale_panel("acr", listeners=6, items=4)
    extra = [Rating("L00", "only this", "swap", 5.0), Rating("newcomer", "i0", "swap", 5.0)]
    extra.append(Rating("L00", "only that", "k-means", 5.0))
    figures = analyse(Results("acr", [*results.ratings, *extra], 16000, 11))
    assert pair_of(figures, "k-means", "swap") == pair_of(analyse(results), "k-means", "swap") | {"unpaired": 3}
    assert any("leave out" in sentence for sentence in cautions(figures))
    swap = next(system for system in figures["systems"] if system["system"] == "swap")
    assert (swap["listeners"], swap["votes"]) == (7, 26)


def spoil(results: Results, listener: str, system: str, value: float, items: int) -> Results:
    """Let a listener rate a system so on the first items."""
    bad = {f"i{number}" for number in range(items)}
    found = [
        Rating(r.listener, r.item, r.system, value)
        if (r.listener, r.system) == (listener, system) and r.item in bad
        else r
        for r in results.ratings
    ]
    return Results(results.type, found, results.sample_rate, results.seed)


def test_bad_listeners_are_excluded_with_their_reasons_and_one_bad_item_of_ten_is_forgiven():
    results = scale_panel(items=10)
    results = spoil(results, "L03", "reference", 40, 10)
    results = spoil(results, "L07", "anchor_7000", 99, 2)
    results = spoil(results, "L09", "reference", 40, 1)
    results = spoil(results, "L09", "anchor_7000", 99, 1)
    figures = analyse(results)
    reasons = {line["listener"]: line["reasons"] for line in figures["screening"] if line["reasons"]}
    assert reasons == {
        "L03": ["rated the hidden reference below 90 on 10 of 10 items (100 %, more than 15 %)"],
        "L07": ["rated the 7 kHz anchor above 90 on 2 of 10 items (20 %, more than 15 %)"],
    }
    assert figures["listeners"] == {"rated": 11, "kept": 9, "excluded": 2}
    means = figures["systems"][0]["listener_means"]
    assert "L09" in means
    assert not {"L03", "L07"} & set(means)
    page = Page(analysis_page(figures, "test")).text
    assert all(f"excluded: {reason}" in page for (reason,) in reasons.values())
    assert "excluded L03: rated the hidden reference" in summary(figures)


def test_without_both_anchors_in_a_wide_band_the_test_is_only_mushra_style():
    full = scale_panel(listeners=4, items=4)
    assert analyse(full)["title"] == "MUSHRA"
    narrow = analyse(scale_panel(listeners=4, items=4, sample_rate=16000))
    assert narrow["title"] == "MUSHRA-style"
    assert "at 16000 Hz a 7 kHz anchor keeps nearly the whole band" in analysis_page(narrow, "test")
    for missing, why in (("anchor_7000", "there is no 7 kHz anchor"), ("anchor_3500", "")):
        kept = [rating for rating in full.ratings if rating.system != missing]
        figures = analyse(Results("mushra", kept, 48000, 0))
        assert figures["title"] == "MUSHRA-style"
        assert why in analysis_page(figures, "test")


def test_ab_answers_recover_the_strengths_they_were_drawn_with():
    figures = analyse(pair_panel("ab", listeners=40))
    strengths = {system["system"]: system for system in figures["strengths"]}
    assert list(strengths) == list(STRENGTHS)
    for name, true in STRENGTHS.items():
        assert strengths[name]["strength"] == pytest.approx(true, abs=0.25)
        assert strengths[name]["low95"] - 0.1 < true < strengths[name]["high95"] + 0.1
    pair = pair_of(figures, "k-means", "swap")
    assert (pair["a"], pair["b"]) == ("k-means", "swap")
    assert pair["mean"] == pytest.approx(1 / (1 + math.exp(-1.8)), abs=0.06)
    assert pair["these_items"]["p_holm"] < 0.001
    assert (pair["votes"], pair["prefer_a"] + pair["prefer_b"], pair["prefer_neither"]) == (240, 240, 0)
    assert any(sentence.startswith("k-means is preferred to gumbel: ") for sentence in findings(figures))


def test_a_system_that_always_wins_is_strong_but_not_infinitely():
    found = [Rating(f"L{n}", "i", "A", 1.0, "B") for n in range(10)]
    strong, weak = analyse(Results("ab", found, 16000, 0))["strengths"]
    assert strong["system"] == "A"
    assert strong["strength"] - weak["strength"] == pytest.approx(math.log(10.5 / 0.5))


def test_undecided_answers_count_half_for_each():
    found = [Rating(f"L{n}", "i", "A", value, "B") for n, value in enumerate([1.0, 0.5, 0.5, 0.5])]
    figures = analyse(Results("ab", found, 16000, 0))
    assert figures["pairs"][0]["mean"] == 0.625
    assert figures["pairs"][0]["difference"] == 0.125
    strong, weak = figures["strengths"]
    assert strong["strength"] - weak["strength"] == pytest.approx(math.log(3 / 2))  # 2.5 + 0.5 to 1.5 + 0.5


def test_no_preference_is_counted_for_neither_in_the_words_of_a_finding():
    """45 of 48 answers prefer A and 3 have no preference: that is 94 %, with half of these three 97 %."""
    values = [1.0] * 45 + [0.5] * 3
    found = [Rating(f"L{n % 8}", f"i{n // 8}", "B", 1 - value, "A") for n, value in enumerate(values)]
    figures = analyse(Results("ab", found, 16000, 0))
    (sentence,) = findings(figures)
    assert sentence.startswith(
        "A is preferred to B: 45 of 48 answers (94 %) prefer A, 0 B, 3 neither. With half of these,"
    )
    assert "A has 97 %: 9" in sentence
    page = Page(analysis_page(figures, "test")).text
    assert "A over B 48 45 0 3 94 % 97 %" in page
    assert figures["pairs"][0]["these_items"]["high95"] == 1.0  # a share ends there


def test_the_first_of_a_pair_in_ab_is_the_one_that_listeners_prefer():
    """Six listeners prefer A in their one answer; a seventh answers 20 times, always for B."""
    found = [Rating(f"L{n}", "i", "B", 0.0, "A") for n in range(6)]
    found += [Rating("L6", f"i{n}", "B", 1.0, "A") for n in range(20)]
    (pair,) = analyse(Results("ab", found, 16000, 0))["pairs"]
    assert (pair["a"], pair["prefer_a"], pair["prefer_b"]) == ("A", 6, 20)
    assert pair["mean"] == pytest.approx(6 / 7)


@pytest.mark.parametrize(("first", "answers", "p"), [(6, 6, 0.023), (5, 5, 0.056), (15, 21, 0.077), (18, 26, 0.074)])
def test_single_answers_are_tested_about_as_exactly_as_they_can_be(first, answers, p):
    """Exact binomial tests say 0.031, 0.063, 0.078 and 0.076; six who agree are not certain, five are not enough."""
    found = [Rating(f"L{n:02d}", "i", "A", float(n < first), "B") for n in range(answers)]
    (pair,) = analyse(Results("ab", found, 16000, 0))["pairs"]
    assert pair["these_items"]["p"] == pytest.approx(p, abs=1e-3)
    assert (pair["these_items"]["low95"] > 0.5) == (p < 0.05)


def test_systems_that_were_never_linked_have_no_common_strengths():
    found = [Rating(f"L{n}", "i", a, 1.0, b) for n in range(3) for a, b in (("A", "B"), ("C", "D"))]
    figures = analyse(Results("ab", found, 16000, 0))
    assert figures["strengths"] is None
    assert "not linked" in Page(analysis_page(figures, "test")).text


def test_ccr_gives_comparison_means_of_each_pair_in_the_order_of_its_ratings():
    found = [Rating(f"L{n}", "i", "A", float(-v), "reference") for n, v in enumerate([1, 2, 3, 2, 1, 3])]
    found += [Rating("L0", "j", "A", -2.0, "reference")]
    (pair,) = analyse(Results("ccr", found, 16000, 0))["pairs"]
    assert (pair["a"], pair["b"]) == ("A", "reference")
    assert pair["mean"] == pair["difference"] == pytest.approx(-12.5 / 6)  # listeners: −1.5, −2, −3, −2, −1, −3
    assert pair["wilcoxon_p"] == pytest.approx(2 / 64)
    pairs = analyse(pair_panel("ccr"))["pairs"]
    assert [pair["a"] + " " + pair["b"] for pair in pairs] == ["gumbel swap", "k-means gumbel", "k-means swap"]
    assert [pair["mean"] for pair in pairs] == pytest.approx([1.2, 0.6, 1.8], abs=0.3)


def test_abx_counts_right_answers_of_pairs_listeners_and_all():
    """12 of 16 right: p = 2517 / 65536; 8 of 8: 2⁻⁸; in one pair 20 of 24."""
    found = [Rating("L1", f"i{n}", "A", float(n < 12), "B") for n in range(16)]
    found += [Rating("L2", f"i{n}", "A", 1.0, "B") for n in range(8)]
    figures = analyse(Results("abx", found, 16000, 0))
    assert [share["binomial_p"] for share in figures["by_listener"]] == pytest.approx([2517 / 65536, 2**-8])
    (pair,) = figures["pairs"]
    assert (pair["right"], pair["trials"], pair["listeners"]) == (20, 24, 2)
    assert pair["binomial_p"] == pair["binomial_p_holm"] == figures["overall"]["binomial_p"]
    assert "A and B are told apart: 20 of 24 right" in findings(figures)[0]
    assert [share["binomial_p_holm"] for share in figures["by_listener"]] == pytest.approx([2517 / 65536, 2**-7])


def test_abx_intervals_are_over_listeners_who_differ():
    """Four listeners are always right and four guess: the next listener may be of either kind."""
    found = [Rating(f"L{k}", f"i{n}", "A", float(k < 4 or n % 2), "B") for k in range(8) for n in range(16)]
    (pair,) = analyse(Results("abx", found, 16000, 0))["pairs"]
    assert pair["share"] == 0.75
    half = 2.3646 * 0.25 * math.sqrt(8 / 7) / math.sqrt(8) + 0.5 / 128  # t of 7, sd of 1 and ½, half a step of the mean
    assert pair["these_items"]["high95"] == pytest.approx(0.75 + half, rel=1e-4)
    assert pair["high95"] < pair["these_items"]["high95"]  # Clopper and Pearson take 128 answers as independent
    shown = Page(analysis_page(analyse(Results("abx", found, 16000, 0)), "test")).text
    assert "A : B 8 96 128 75 %" in shown


def test_one_listener_is_enough_for_abx_and_too_few_for_the_rest():
    alone = Results("abx", [Rating("L1", "i", "A", 1.0, "B")], 16000, 0)
    assert analyse(alone)["overall"]["binomial_p"] == 0.5
    assert "Too few answers to say whether A and B are told apart; it takes at least 5" in findings(analyse(alone))[0]
    assert analysis_page(analyse(alone), "test")
    with pytest.raises(UserError, match=r"1 of 1 listeners count .* at least 2 must"):
        analyse(Results("ab", alone.ratings, 16000, 0))


@pytest.mark.parametrize("kind", ["mushra", "acr", "dcr", "smos", "words", "ccr", "ab", "abx"])
def test_every_type_makes_strict_json_and_a_page_that_needs_nothing_else(kind, tmp_path, monkeypatch):
    monkeypatch.setattr(figures, "read_results", lambda test: panel(kind))
    out = tmp_path / "new" / "folder"
    values = write_analysis(tmp_path, out)
    names = sorted(path.name for path in out.iterdir())
    assert names == [".vqaudio", "analysis.html", "analysis.json", "ratings.csv"]
    stored = json.loads((out / "analysis.json").read_text(), parse_constant=pytest.fail)
    assert stored == values
    text = (out / "analysis.html").read_text()
    page = Page(text)
    assert page.sources == []
    assert not re.search(r"url\((?!#)|@import|<script|https?:", text)
    assert values["title"] in page.text
    assert all(sentence in page.text for sentence in findings(values))
    assert "k-means" in page.text


def test_the_same_ratings_and_seed_give_the_same_files_whatever_their_order(tmp_path, monkeypatch):
    results = scale_panel()
    written = []
    for name, ratings in (("a", results.ratings), ("b", results.ratings[::-1])):
        turned = Results("mushra", ratings, 48000, 11)
        monkeypatch.setattr(figures, "read_results", lambda test, turned=turned: turned)
        write_analysis(tmp_path, tmp_path / name)
        written.append([(tmp_path / name / file).read_bytes() for file in ("ratings.csv", "analysis.json")])
    assert written[0] == written[1]


def test_the_csv_holds_every_rating_once_with_exclusions_and_no_formula():
    results = spoil(scale_panel(items=10), "L03", "reference", 40, 10)
    evil = [Rating("L00", '=HYPERLINK("x")', "+A", -1.0, "@B"), Rating("L00", "\tb", "-c,d", 0.5, text="=1+1")]
    results = Results("mushra", [*results.ratings, *evil], 48000, 0)
    rows = list(csv.DictReader(io.StringIO(long_csv(results, verdicts(results, {}, screening=True)))))
    assert len(rows) == len(results.ratings)
    assert tuple(rows[0]) == COLUMNS
    assert {row["listener"] for row in rows if row["excluded"]} == {"L03"}
    texts = [row[name] for row in rows for name in COLUMNS if name != "value"]
    assert not any(text.startswith(("=", "+", "-", "@", "\t", "\r")) for text in texts)
    (row,) = [row for row in rows if "HYPERLINK" in row["item"]]
    assert (row["item"], row["system"], row["other"], row["value"]) == ('\'=HYPERLINK("x")', "'+A", "'@B", "-1")


def test_no_rating_yet_and_too_few_listeners_are_one_line_and_the_csv_is_there(tmp_path, monkeypatch):
    monkeypatch.setattr(figures, "read_results", lambda test: Results("acr", [], 16000, 0))
    with pytest.raises(UserError, match="no ratings yet") as error:
        write_analysis(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    results = spoil(scale_panel(listeners=2, items=5), "L01", "reference", 10, 5)
    monkeypatch.setattr(figures, "read_results", lambda test: results)
    with pytest.raises(UserError, match=r"1 of 2 listeners count \(1 excluded\)") as error:
        write_analysis(tmp_path, tmp_path / "out")
    assert "\n" not in str(error.value)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [".vqaudio", "ratings.csv"]
    assert "more than 15 %" in (tmp_path / "out" / "ratings.csv").read_text()


def test_the_csv_says_when_and_where_each_answer_was_given():
    about = {"trial": 3, "position": 2, "clock_ms": 1_700_000_000_123, "seconds": 4.5, "plays": 2}
    found = [Rating("L1", "i", "A", 50.0, text="so, what", words=4, **about), Rating("L2", "i", "A", 0.0)]
    results = Results("words", found, 16000, 0)
    known, unknown = csv.DictReader(io.StringIO(long_csv(results, verdicts(results, {"L2": "asleep"}, screening=True))))
    assert list(known.values()) == [
        *("words", "L1", "i", "A", "", "50", "so, what"),
        *("3", "2", "2023-11-14T22:13:20.123Z", "4.5", "2", ""),
    ]
    assert list(unknown.values())[6:] == ["", "", "", "", "", "", "by hand: asleep"]


def test_few_listeners_are_too_few_to_say_and_the_sentence_says_how_many_it_takes():
    """Friends of either side among 8 listeners, 5 systems: 15 pairs with the reference take 10 listeners."""
    rng = np.random.default_rng(1)
    found = [
        Rating(f"L{listener}", f"i{item}", system, float(rng.integers(0, 100)))
        for listener in range(8)
        for item in range(7)
        for system in ("reference", *"ABCDE")
    ]
    figures = analyse(Results("mushra", found, 16000, 0), screening=False)
    said = [sentence for sentence in findings(figures) if "too few to say" in sentence]
    assert said
    assert all("(it takes at least 10 to decide a pair among 15 pairs): " in sentence for sentence in said)
    assert not any("No difference was found between A and" in sentence for sentence in findings(figures))
    page = Page(analysis_page(figures, "test")).text
    assert "With 8 listeners and 15 pairs, those two cannot reach p < 0.05; that takes at least 10" in page


def test_a_clear_difference_is_found_with_few_listeners_and_many_pairs():
    """Systems 20 points apart, eight listeners, 15 pairs: a signed-rank test could not have told them apart."""
    rng = np.random.default_rng(2)
    found = [
        Rating(f"L{listener}", f"i{item}", system, 15.0 * place + rng.normal(0, 5))
        for listener in range(8)
        for item in range(6)
        for place, system in enumerate((*"EDCBA", "reference"))
    ]
    figures = analyse(Results("mushra", found, 16000, 0), screening=False)
    assert all(pair["these_items"]["p_holm"] < 0.001 for pair in figures["pairs"])
    assert all(pair["wilcoxon_p_holm"] > 0.05 for pair in figures["pairs"])
    assert "A is better than B by 1" in " ".join(findings(figures))


def test_items_that_suit_a_system_are_no_proof_for_others_like_them():
    """Thirty listeners agree that A is better at i0 and hardly hear a difference at three other items."""
    rng = np.random.default_rng(3)
    found = [
        Rating(f"L{listener}", f"i{item}", system, 50 + 30.0 * (system == "A" and item == 0) + rng.normal(0, 5))
        for listener in range(30)
        for item in range(4)
        for system in "AB"
    ]
    figures = analyse(Results("mushra", found, 16000, 0))
    (pair,) = figures["pairs"]
    assert pair["these_items"]["p"] < 1e-6
    assert pair["items_like_these"]["p"] > 0.05
    assert findings(figures)[0].startswith("A is better than B by 7.13: ")
    assert findings(figures)[0].endswith(", so not certain for others.")


def test_where_everybody_hears_an_item_with_one_system_all_ratings_count():
    """Twelve listeners, six items, three systems: A is 10 points better than B, items differ by far more."""
    rng = np.random.default_rng(4)
    quality = {"A": 10, "B": 0, "C": -30}
    found = [
        Rating(
            f"L{listener:02d}",
            f"i{item}",
            "ABC"[(listener + item) % 3],
            50 + quality["ABC"[(listener + item) % 3]] + 15 * item + rng.normal(0, 4),
        )
        for listener in range(12)
        for item in range(6)
    ]
    figures = analyse(Results("mushra", found, 16000, 0))
    pair = pair_of(figures, "A", "B")
    assert (pair["listeners"], pair["items"], pair["unpaired"]) == (12, 6, 0)
    assert pair["these_items"]["low95"] < 10 < pair["these_items"]["high95"]
    assert pair["these_items"]["high95"] - pair["these_items"]["low95"] < 10
    assert pair["items_like_these"]["p_holm"] < 0.001
    assert "listeners hear each item with one system only" in analysis_page(figures, "test")


def test_a_few_items_heard_twice_do_not_make_the_rest_of_a_latin_square_disappear():
    found = [
        Rating(f"L{k}", f"i{n}", "AB"[(k + n) % 2], 50.0 + 10 * ((k + n) % 2) + k) for k in range(6) for n in range(6)
    ]
    found += [Rating(f"L{k}", "i0", "AB"[1 - k % 2], 50.0 + 10 * (1 - k % 2) + k) for k in range(2)]
    (pair,) = analyse(Results("mushra", found, 16000, 0))["pairs"]
    assert (pair["a"], pair["listeners"], pair["items"], pair["unpaired"]) == ("B", 6, 6, 0)
    assert pair["difference"] == pytest.approx(10)


def test_fewer_wrong_words_are_better_and_pooled_errors_weigh_long_texts_more():
    """A: 1 of 10 and 0 of 2 words wrong, B: 5 of 10 and 0 of 2; means of 5 and 25 %, pooled 8.3 and 41.7 %."""
    found = [
        Rating(f"L{n}", item, system, 100 * wrong / words, text="…", words=words)
        for n in range(8)
        for item, words in (("long", 10), ("short", 2))
        for system, wrong in (("A", words // 10), ("B", words // 10 * 5))
    ]
    figures = analyse(Results("words", found, 16000, 0))
    a, b = figures["systems"]
    assert (a["system"], a["mean"], b["mean"]) == ("A", 5.0, 25.0)
    assert (a["pooled"], b["pooled"]) == (pytest.approx(100 / 12), pytest.approx(500 / 12))
    assert findings(figures)[0].startswith("A is better understood than B (per cent of words wrong) by 20.00: 19.")
    assert "8.33" in Page(analysis_page(figures, "test")).text


def test_the_title_says_what_was_rated():
    results = scale_panel("acr")
    assert analyse(results)["title"].startswith("ACR, mean opinion scores")
    assert analyse(Results("acr", results.ratings, 16000, 0, attribute="naturalness"))["title"].endswith(
        ": naturalness"
    )


def test_listeners_are_listed_with_how_far_they_got_and_why_they_do_not_count():
    results = scale_panel("acr", listeners=4)
    people = {
        "L00": Person("L00", 32, 32, 1_700_000_000_000, 12.4, "finished"),
        "L09": Person("L09", 0, 32, 1_700_000_000_000, None, "screened"),
        "L10": Person("L10", 0, 32, None, None, None),
    }
    failed = {"L01": ("2 of 2 gold answers wrong (allowed: 0)",), "L09": ("screened out before the test",)}
    with_people = Results("acr", results.ratings, 16000, 0, failed=failed, people=people)
    figures = analyse(with_people, exclude={"L02": "fell asleep"})
    assert figures["listeners"] == {"rated": 4, "kept": 2, "excluded": 2}
    page = Page(analysis_page(figures, "test")).text
    assert "L00 32 of 32 12 2023-11-14 finished counts" in page
    assert "L01 32 – – – excluded: 2 of 2 gold answers wrong" in page
    assert "L02 32 – – – excluded: by hand: fell asleep" in page
    assert "L09 0 of 32 – 2023-11-14 screened no ratings: screened out before the test" in page
    assert "L10" not in page
    assert "Left out: L01 (2 of 2 gold answers wrong (allowed: 0)); L02 (by hand: fell asleep)." in page
    for name, why in (("L01", "2 of 2 gold"), ("L02", "by hand: fell asleep")):
        assert f"excluded {name}: {why}" in summary(figures)


def test_without_screening_failures_are_reported_and_count_but_who_is_left_out_by_hand_does_not():
    results = spoil(scale_panel(items=10), "L03", "reference", 40, 10)
    figures = analyse(results, exclude={"L05": "noise"}, screening=False)
    assert figures["listeners"] == {"rated": 11, "kept": 10, "excluded": 1}
    assert "L03" in figures["systems"][0]["listener_means"]
    assert "would exclude L03" in summary(figures)
    assert "counts all the same: rated the hidden reference below 90" in Page(analysis_page(figures, "test")).text


def test_with_six_items_the_page_says_that_one_slip_excludes():
    said = "With 6 items, a single one is more than 15 %"
    assert any(said in sentence for sentence in cautions(analyse(scale_panel(items=6))))
    assert said in summary(analyse(scale_panel(items=6)))
    assert cautions(analyse(scale_panel(items=7))) == []


def test_nothing_that_trains_or_compiles_is_imported(tmp_path):
    """An analysis needs no PyTorch, and works where numba may not write its cache."""
    code = (
        "import sys; from vqaudio.cli.listen_analyse import add_analyse\n"
        "from vqaudio.listening.analysis import figures, page, planning\n"
        "print(sorted({'torch', 'numba'} & set(sys.modules)))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown == "[]\n"


def test_many_pairs_and_listeners_take_about_a_second():
    rng = np.random.default_rng(5)
    found = [
        Rating(f"L{listener}", f"i{item}", f"s{system}", float(rng.integers(1, 6)))
        for listener in range(16)
        for item in range(10)
        for system in range(10)
    ]
    start = time.process_time()
    assert len(analyse(Results("acr", found, 16000, 0))["pairs"]) == 45
    assert time.process_time() - start < 5


def stored_test(folder) -> None:
    """A MUSHRA test as `listen build` and `serve` leave it: three listeners, two items, a training that is left out."""
    (folder / "private").mkdir()
    labels = ("reference", "anchor_3500", "a", "b")
    stimuli = {f"{item}{s}": Stimulus(item, system, 0.0, "") for item in "xyt" for s, system in enumerate(labels)}
    names = {item: tuple(name for name in stimuli if name[0] == item) for item in "xyt"}
    trials = {f"trial-{item}": Trial(item, item == "t", names[item], names[item][0]) for item in "xyt"}
    write_key(folder, Key("mushra", 5, 24000, ("a", "b"), trials, stimuli))
    add_listeners(folder, 3)
    with Store(folder) as store:
        for n, (listener, _) in enumerate(store.listeners()):
            answers = [
                (f"trial-{item}", f"{item}{s}", value + n) for item in "xyt" for s, value in enumerate((95, 10, 60, 40))
            ]
            store.save(listener, [Event(t, name, seq, value, 0) for seq, (t, name, value) in enumerate(answers)], 0)


def run(*argv: str) -> None:
    parser = Parser(prog="vqaudio listen")
    add_analyse(parser.add_subparsers(parser_class=Parser))
    args = parser.parse_args(["analyse", *argv])
    args.run(args)


def test_the_command_reads_a_stored_test_and_writes_to_its_private_folder(tmp_path, capsys):
    stored_test(tmp_path)
    run(str(tmp_path))
    shown = capsys.readouterr().out
    assert "MUSHRA-style: 3 listeners count, 0 excluded" in shown
    assert f"{tmp_path}/private/analysis/analysis.html" in shown
    run(str(tmp_path), "--out", str(tmp_path / "elsewhere"))
    figures = json.loads((tmp_path / "private/analysis/analysis.json").read_text())
    assert figures == json.loads((tmp_path / "elsewhere" / "analysis.json").read_text())
    assert (tmp_path / "elsewhere" / "analysis.html").is_file()
    assert (figures["ratings"], figures["items"], figures["seed"]) == (24, 2, 5)
    assert {system["system"]: system["mean"] for system in figures["systems"]} == {
        "reference": 96.0,
        "a": 61.0,
        "b": 41.0,
        "anchor_3500": 11.0,
    }
    assert pair_of(figures, "a", "b")["difference"] == 20.0


def test_the_command_leaves_out_listeners_by_hand(tmp_path, capsys):
    stored_test(tmp_path)
    run(str(tmp_path), "--exclude", "L002=fell asleep", "--no-screening")
    shown = capsys.readouterr().out
    assert "excluded L002: by hand: fell asleep" in shown
    assert "they would exclude nobody" in shown
    assert "by hand: fell asleep" in (tmp_path / "private/analysis/ratings.csv").read_text()
    with pytest.raises(UserError, match=r"--exclude L009: no listener of that name has rated; give one of L001"):
        run(str(tmp_path), "--exclude", "L009=gone")
    with pytest.raises(UserError, match="named twice"):
        run(str(tmp_path), "--exclude", "L002=asleep", "--exclude", "L002=gone")
    with pytest.raises(SystemExit):
        run(str(tmp_path), "--exclude", "L002")
    assert "'L002' must be LISTENER=REASON" in capsys.readouterr().err


def test_a_folder_without_a_test_is_one_line(tmp_path):
    with pytest.raises(UserError, match="listen build"):
        run(str(tmp_path))
