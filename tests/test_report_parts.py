"""Drawings of units and phones, tables of scores, and the page that compares runs."""

import itertools
import json
import re

import numpy as np
import pytest
from finished_run import Page, finished_run, speech

from vqaudio.cli import main
from vqaudio.datadir import Phone
from vqaudio.errors import UserError
from vqaudio.report.comparison import build_comparison
from vqaudio.report.page import build_report
from vqaudio.report.phones import count_phones, heat_map, in_order, manner
from vqaudio.report.samples import NUM_SAMPLES
from vqaudio.report.tables import UNIT_SCORES, Column, score_table, unit_columns
from vqaudio.report.tracks import SCALE, Tracks, code_colour


def test_neighbouring_codes_have_different_light_colours():
    colours = [tuple(map(int, re.findall(r"\d+", code_colour(code)))) for code in range(256)]
    assert all(abs(a[0] - b[0]) % 360 > 100 for a, b in itertools.pairwise(colours))
    assert min(light for _, _, light in colours) > 60


def test_phones_are_counted_as_the_metrics_count_them():
    units = {"a": np.array([[1, 1, 2, 2]]), "b": np.array([[2, 3, 1, 1]]), "unaligned": np.array([[9]])}
    alignment = {
        "a": [Phone(0.0, 0.02, "T"), Phone(0.02, 0.02, "AH")],
        "b": [Phone(0.0, 0.02, "AH"), Phone(0.02, 0.01, "SIL")],
    }
    table = count_phones(units, alignment, frame_rate=100)
    found = {
        (phone, unit): int(table.counts[row, column])
        for row, phone in enumerate(table.phones)
        for column, unit in enumerate(table.units)
    }
    assert {cell: count for cell, count in found.items() if count} == {("T", "1"): 2, ("AH", "2"): 3, ("AH", "3"): 1}


def test_grouped_codes_are_counted_as_whole_units():
    table = count_phones({"a": np.array([[1, 1], [2, 3]])}, {"a": [Phone(0.0, 0.02, "T")]}, frame_rate=100)
    assert table.units == ["1-2", "1-3"]
    with pytest.raises(UserError, match="no frame"):
        count_phones({"a": np.array([[1]])}, {"b": [Phone(0.0, 0.02, "T")]}, frame_rate=100)


def test_phones_are_sorted_by_manner_and_units_by_their_main_phone():
    order = sorted(["T", "tʃ", "ZH", "n", "AH1", "AH0", "iː", "dʒ", "?", "L"], key=manner)
    assert [manner(phone)[0] for phone in order] == [0, 0, 0, 1, 2, 3, 4, 4, 5, 6]
    units = {"a": np.array([[5, 5, 7, 7, 7, 7, 3, 3]])}
    phones = [Phone(0.0, 0.03, "T"), Phone(0.03, 0.04, "AH"), Phone(0.07, 0.01, "M")]
    table = in_order(count_phones(units, {"a": phones}, frame_rate=100))
    assert table.phones == ["AH", "M", "T"]
    assert table.units == ["7", "3", "5"]
    assert table.counts.tolist() == [[3, 1, 0], [0, 1, 0], [1, 0, 2]]


def test_pointing_at_a_unit_of_the_heat_map_shows_its_phones(tmp_path):
    table = count_phones(
        {"a": np.array([[5, 5, 5, 7]])}, {"a": [Phone(0.0, 0.02, "T"), Phone(0.02, 0.1, "<AH>")]}, frame_rate=100
    )
    drawn = heat_map("test", table)
    assert drawn.hovers == ["unit 5: T 67%, <AH> 33%; 3 frames", "unit 7: <AH> 100%; 1 frames"]
    assert drawn.manners == {"stops": 1, "others": 1}
    text = build_report(finished_run(tmp_path, "run")).read_text(encoding="utf-8")
    assert "13 units, sorted by their most frequent phone" in text
    assert len(re.findall("<title>unit ", text)) == 13
    assert "fricatives" in Page(text).text


def test_boundaries_are_drawn_where_units_change():
    tracks = Tracks("label", 0.06)
    tracks.add_units(np.array([[4, 4, 9, 9, 9, 4]]), 100)
    tracks.add_spectrogram("x", speech(0, 0.12), np.array([[4, 4, 9, 9, 9, 4]]), 100)
    assert tracks.pictures[0].changes == pytest.approx([0.02 * SCALE, 0.05 * SCALE])
    assert [box.hover for box in tracks.boxes] == ["code 4, 20 ms", "code 9, 30 ms", "code 4, 10 ms"]
    assert [box.x for box in tracks.boxes] == pytest.approx([0, 0.02 * SCALE, 0.05 * SCALE])


def test_the_best_of_each_set_is_marked_by_the_direction_of_the_score():
    scores = [{"pnmi": 0.2, "abx_across": 0.3}, {"pnmi": 0.4, "abx_across": 0.1}, {"pnmi": None, "abx_across": 0.2}]
    columns = [Column("a", str(number), "", values) for number, values in enumerate(scores)]
    table = score_table("scores", UNIT_SCORES, [*columns, Column("b", "3", "", {"pnmi": 0.9})])
    cells = [cell for _, rows in table.groups for _, row in rows for cell in row]
    assert [cell.text for cell in cells if cell.best] == ["0.400", "10.0%"]
    assert [title for title, _ in table.groups] == ["Phones", "ABX error (50 % is chance)"]
    assert [(name, span) for name, _, span in table.sets] == [("a", 3), ("b", 1)]


def test_a_baseline_that_runs_share_is_shown_once():
    same, other = {"pnmi": 0.4}, {"pnmi": 0.5}
    runs = [(name, {"units": {"s": {"pnmi": 0.6}}, "baseline": {"s": same}}) for name in "ab"]
    assert [column.name for column in unit_columns(runs, "s")] == ["a", "b", "MFCC"]
    runs[1][1]["baseline"] = {"s": other}
    assert [column.note for column in unit_columns(runs, "s")[2:]] == ["k-means, same K as a", "k-means, same K as b"]


def test_a_comparison_holds_scores_curves_and_players_of_every_run(tmp_path):
    exps = []
    for tag in ("one", "two<i>"):
        (tmp_path / tag).mkdir()
        exps.append(finished_run(tmp_path / tag, tag))
    scores = json.loads((exps[1] / "scores.json").read_text())
    scores["units"]["test_seen"]["pnmi"] = 0.777
    (exps[1] / "scores.json").write_text(json.dumps(scores))
    out = build_comparison(exps, tmp_path / "comparison.html")
    text = out.read_text(encoding="utf-8")
    page = Page(text)
    assert "two<i>" in page.text
    assert "<i>" not in text
    assert "<strong>0.777</strong>" in text
    assert page.text.count("0.420") == 1
    clips = [source for source in page.sources if source.startswith("data:audio")]
    assert len(clips) == (1 + len(exps)) * NUM_SAMPLES
    assert len(set(clips)) > NUM_SAMPLES
    assert page.tags.count("figure") > 6
    of_charts = text.count("training step") + text.count("bit/s of merged units")
    assert page.classes.count("first") == 1 + of_charts  # in the header and in every chart
    assert "data.train" in page.text  # where the configurations differ
    assert "missing" not in page.classes


def test_the_command_writes_a_page_of_one_run_and_of_several_where_out_says(tmp_path, capsys):
    runs = [tmp_path / name for name in "ab"]
    for run in runs:
        run.mkdir()
    assert main(["report", str(runs[0])]) == 0
    assert main(["report", *map(str, runs)]) == 0
    assert main(["report", str(runs[1]), "--out", str(tmp_path / "here.html")]) == 0
    paths = [runs[0] / "report.html", tmp_path / "comparison.html", tmp_path / "here.html"]
    assert capsys.readouterr().out.splitlines() == list(map(str, paths))
    titles = [re.search("<h1>(.*?)</h1>", path.read_text(encoding="utf-8"))[1] for path in paths]
    assert titles == ["a", "Comparison", "b"]


def test_a_comparison_with_a_run_that_has_only_begun_shows_the_other(tmp_path):
    exp = finished_run(tmp_path, "run")
    (tmp_path / "exp" / "new").mkdir()
    page = Page(build_comparison([exp, tmp_path / "exp" / "new"], tmp_path / "c.html").read_text(encoding="utf-8"))
    assert "0.610" in page.text
    assert "no utterance of this set in common" in page.text


def test_runs_are_compared_once_and_not_too_many(tmp_path):
    exp = finished_run(tmp_path, "run")
    with pytest.raises(UserError, match="given twice"):
        build_comparison([exp, exp / "."], tmp_path / "c.html")
    with pytest.raises(UserError, match="at most 6"):
        build_comparison([exp] * 7, tmp_path / "c.html")
    assert not (tmp_path / "c.html").exists()
