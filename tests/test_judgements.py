"""What a report says of judged speech, as a table and in words."""

import json
import math
from pathlib import Path

import pytest
from finished_run import Page, finished_run

from vqaudio.report.comparison import build_comparison
from vqaudio.report.judgements import JUDGE_SCORES, UNDERSTOOD, judged_columns, verdicts
from vqaudio.report.page import build_report
from vqaudio.report.tables import score_table

LOCAL = Path(__file__).resolve().parent.parent / "recipes" / "vctk" / "local"
JUDGED = {
    "wer": 0.6,
    "word_substitutions": 30,
    "word_deletions": 20,
    "word_insertions": 10,
    "reference_wer": 0.02,
    "reference_word_substitutions": 2,
    "reference_word_deletions": 0,
    "reference_word_insertions": 0,
    "words": 100,
    "mos": 2.12,
    "reference_mos": 4.41,
    "similarity": 0.7,
    "similarity_voice": 0.66,
    "reference_similarity_same": 0.88,
    "reference_similarity_other": 0.41,
    "intervals": {"wer": [0.5, 0.7], "reference_wer": [0.01, 0.03]},
}
SWAPPED = {**JUDGED, "mos": 1.98, "similarity_voice": 0.38}
SCORES = {"audio": {"test_seen": JUDGED}, "swap": {"test_seen": SWAPPED}}


def texts(scores, names=("this run",)):
    """The cells of the table by the name of the score, for runs with the same scores."""
    columns = judged_columns([(name, scores) for name in names], "test_seen")
    groups = score_table("", JUDGE_SCORES, columns).groups
    return {score.key: [cell.text for cell in cells] for _, rows in groups for score, cells in rows}


def test_reconstruction_and_swap_stand_beside_the_originals():
    cells = texts(SCORES)
    assert cells["wer"] == ["2.0%", "60.0%", "60.0%"]
    assert cells["mos"] == ["4.41", "2.12", "1.98"]
    assert cells["word_insertions"] == ["0", "10", "10"]
    assert cells["similarity"] == ["–", "0.70", "0.70"]
    assert cells["similarity_voice"] == ["0.88", "0.66", "0.38"]
    assert cells["similarity_other"] == ["0.41", "–", "–"]
    columns = judged_columns([("a", SCORES), ("b", SCORES)], "test_seen")
    assert [column.name for column in columns] == ["originals", "a", "a", "b", "b"]
    assert columns[0].scores["intervals"]["wer"] == [0.01, 0.03]


def test_naturalness_is_not_shown_without_the_word_error_rate():
    assert texts({"audio": {"test_seen": {**JUDGED, "wer": None}}, "swap": {}}) == {}
    assert texts({"audio": {"test_seen": {"estoi": 0.5}}, "swap": {"test_seen": SWAPPED}}) == {}


def test_a_run_that_loses_to_a_baseline_says_so_with_both_figures():
    scores = {key: {"test_seen": {"pnmi": 0.5521}} for key in ("units", "baseline", "baseline_stacked")}
    assert verdicts(scores) == []
    scores["baseline"] = {"test_seen": {"pnmi": 0.6944}}
    lost = "test_seen: these units lose to k-means on MFCC: PNMI 0.552 against 0.694."
    assert verdicts(scores) == [lost]
    scores["units"] = {"test_seen": {"pnmi": None}}
    assert verdicts(scores) == []


@pytest.mark.parametrize(("replaced", "missing", "words"), [(30, 20, 5), (0, 0, 0), (4, 0, 0), (5, 0, 1), (80, 20, 10)])
def test_the_share_of_words_that_are_understood_is_said_in_tenths(replaced, missing, words):
    judged = JUDGED | {"word_substitutions": replaced, "word_deletions": missing, "word_insertions": 500}
    (sentence,) = verdicts({"audio": {"test_seen": judged}})
    share = f"{replaced + missing}% are replaced or missing, in the originals 2%"
    assert sentence == f"test_seen, the reconstructions: {UNDERSTOOD[words]} ({share})."
    assert UNDERSTOOD[5] == "half of the words are not understood"


def test_a_voice_that_is_nobodys_is_named():
    *_, voice = verdicts(SCORES)
    assert voice.startswith("test_seen, the speaker swap: the voice is no more like the speaker's")
    assert voice.endswith("(cosine 0.38, others 0.41).")


@pytest.mark.parametrize("value", [None, "x", math.inf, [1]])
def test_odd_figures_say_nothing(value):
    odd = dict.fromkeys(JUDGED, value)
    assert verdicts({"audio": {"test_seen": odd}, "units": {"test_seen": {"pnmi": value}}, "baseline": value}) == []


def test_both_pages_show_the_table_and_the_sentences(tmp_path):
    exps = []
    for tag in ("one", "two"):
        (tmp_path / tag).mkdir()
        exps.append(finished_run(tmp_path / tag, tag))
        scores = json.loads((exps[-1] / "scores.json").read_text())
        scores["audio"]["test_seen"] |= JUDGED
        scores["swap"] = SCORES["swap"]
        scores["baseline"]["test_seen"]["pnmi"] = 0.694
        (exps[-1] / "scores.json").write_text(json.dumps(scores))
    report = Page(build_report(exps[0]).read_text(encoding="utf-8")).text
    comparison = Page(build_comparison(exps, tmp_path / "both.html").read_text(encoding="utf-8")).text
    for text in (report, comparison):
        assert "test_seen: these units lose to k-means on MFCC: PNMI 0.610 against 0.694." in text
        assert "half of the words are not understood (50% are replaced or missing, in the originals 2%)" in text
        assert "word error rate" in text
        assert "50.0–70.0%" in text
    assert comparison.count("4.41") == report.count("4.41") == 1


def test_the_results_hold_the_sentences_and_the_table(monkeypatch):
    monkeypatch.syspath_prepend(LOCAL)
    import results_row

    units = {name: {"test_seen": {"pnmi": 0.5}} for name in ("units", "baseline", "baseline_stacked")}
    text = results_row.tables(SCORES | units)
    assert "half of the words are not understood" in text
    assert "| test_seen | originals | reconstructions | reconstructions, speaker swap |" in text
    assert "| word error rate | 2.0% [1.0–3.0%] | 60.0% [50.0–70.0%] | 60.0% [50.0–70.0%] |" in text
    assert "word error rate" not in results_row.tables(units | {"audio": {"test_seen": {"estoi": 0.5}}})
