"""Simulated panels with known preferences and faults: figures, CSV, JSON, page, and the command."""

import csv
import io
import json
import math
import re

import numpy as np
import pytest
from finished_run import Page

from vqaudio.cli.listen_analyse import add_analyse
from vqaudio.cli.parser import Parser
from vqaudio.errors import UserError
from vqaudio.listening.analysis import figures
from vqaudio.listening.analysis.figures import COLUMNS, analyse, long_csv, screen, write_analysis
from vqaudio.listening.analysis.page import analysis_page
from vqaudio.listening.analysis.ratings import Rating, Results
from vqaudio.listening.analysis.text import findings, summary
from vqaudio.listening.key import Key, Stimulus, Trial, write_key
from vqaudio.listening.store import Event, Store

QUALITY = {"reference": 98, "k-means": 65, "gumbel": 57, "swap": 40, "anchor_7000": 48, "anchor_3500": 20}
STRENGTHS = {"k-means": 0.8, "gumbel": 0.2, "swap": -1.0}
SCALES = {"mushra": (0, 100, 1.0), "acr": (1, 5, 0.05), "dcr": (1, 5, 0.05)}


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
        assert described["low95"] <= described["mean"] <= described["high95"]
        if described["system"] != "reference":
            assert described["mean"] == pytest.approx(QUALITY[described["system"]], abs=4)
            assert described["low95"] - 2 < QUALITY[described["system"]] < described["high95"] + 2
    assert figures["omnibus"]["p"] < 1e-4
    assert figures["omnibus"]["systems"] == 3
    assert len(figures["pairs"]) == 6  # the reference and three systems; no anchors
    best = pair_of(figures, "k-means", "gumbel")
    assert best["difference"] == pytest.approx(8, abs=2)
    assert best["difference_low95"] < 8 < best["difference_high95"]
    assert any(sentence.startswith("k-means is better than gumbel (by") for sentence in findings(figures))
    assert all(pair["wilcoxon_p_holm"] < 0.01 and pair["sign_flip_p_holm"] < 0.01 for pair in figures["pairs"])


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
    assert all("cannot be told apart" in sentence for sentence in findings(figures))


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
    assert (pair["difference_low95"], pair["difference_high95"]) == (0.5, 2.0)
    assert figures["omnibus"] is None


def test_a_pair_counts_only_items_of_which_a_listener_rated_both():
    results = scale_panel("acr", listeners=6, items=4)
    extra = [Rating("L00", "only this", "swap", 5.0), Rating("newcomer", "i0", "swap", 5.0)]
    extra.append(Rating("L00", "only that", "k-means", 5.0))
    figures = analyse(Results("acr", [*results.ratings, *extra], 16000, 11))
    assert pair_of(figures, "k-means", "swap") == pair_of(analyse(results), "k-means", "swap")
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
    assert pair["wilcoxon_p_holm"] < 0.001
    assert pair["votes"] == 240
    assert any(sentence.startswith("k-means is preferred to gumbel (") for sentence in findings(figures))


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


def test_the_share_in_a_finding_is_that_of_the_system_that_it_names():
    """Six listeners prefer A in their one answer; a seventh answers 20 times, always for B."""
    found = [Rating(f"L{n}", "i", "A", 1.0, "B") for n in range(6)]
    found += [Rating("L6", f"i{n}", "A", 0.0, "B") for n in range(20)]
    (sentence,) = findings(analyse(Results("ab", found, 16000, 0)))
    assert "23 % of answers prefer A" in sentence


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
    assert pair["mean"] == pytest.approx(-2.0)
    assert pair["difference"] == pytest.approx(-12.5 / 6)  # listeners: −1.5, −2, −3, −2, −1, −3
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


def test_one_listener_is_enough_for_abx_and_too_few_for_the_rest():
    alone = Results("abx", [Rating("L1", "i", "A", 1.0, "B")], 16000, 0)
    assert analyse(alone)["overall"]["binomial_p"] == 0.5
    with pytest.raises(UserError, match=r"1 of 1 listeners count .* at least 2 must"):
        analyse(Results("ab", alone.ratings, 16000, 0))


@pytest.mark.parametrize("kind", ["mushra", "acr", "dcr", "ccr", "ab", "abx"])
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
    evil = [Rating("L00", '=HYPERLINK("x")', "+A", -1.0, "@B"), Rating("L00", "\tb", "-c,d", 0.5, None)]
    results = Results("mushra", [*results.ratings, *evil], 48000, 0)
    rows = list(csv.DictReader(io.StringIO(long_csv(results, screen(results)))))
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
    with pytest.raises(UserError, match=r"1 of 2 listeners count \(1 excluded by post-screening\)") as error:
        write_analysis(tmp_path, tmp_path / "out")
    assert "\n" not in str(error.value)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [".vqaudio", "ratings.csv"]
    assert "more than 15 %" in (tmp_path / "out" / "ratings.csv").read_text()


def test_with_few_listeners_the_page_says_that_nothing_can_be_significant():
    assert "With 5 listeners no pair can reach p < 0.05; that takes at least 6" in analysis_page(
        analyse(scale_panel(listeners=5)), "test"
    ).replace("&lt;", "<")


def stored_test(folder) -> None:
    """A MUSHRA test as `listen build` and `serve` leave it: three listeners, two items, a training that is left out."""
    (folder / "private").mkdir()
    labels = ("reference", "anchor_3500", "a", "b")
    stimuli = {f"{item}{s}": Stimulus(item, system, 0.0, "") for item in "xyt" for s, system in enumerate(labels)}
    names = {item: tuple(name for name in stimuli if name[0] == item) for item in "xyt"}
    trials = {f"trial-{item}": Trial(item, item == "t", names[item], names[item][0]) for item in "xyt"}
    write_key(folder, Key("mushra", 5, 24000, ("a", "b"), trials, stimuli))
    store = Store(folder)
    session = [{"id": name, "stimuli": list(trial.stimuli)} for name, trial in trials.items()]
    store.add_listeners((f"p{n}", f"token{n}", session) for n in range(3))
    for n in range(3):
        answers = [
            (f"trial-{item}", f"{item}{s}", value + n) for item in "xyt" for s, value in enumerate((95, 10, 60, 40))
        ]
        store.save(f"p{n}", [Event(t, name, seq, value, 0) for seq, (t, name, value) in enumerate(answers)], 0)
    store.close()


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


def test_a_folder_without_a_test_is_one_line(tmp_path):
    with pytest.raises(UserError, match="listen build"):
        run(str(tmp_path))
