"""Tables of unit scores: a figure without an interval shows none."""

from pathlib import Path

import pytest

LOCAL = Path(__file__).resolve().parent.parent / "recipes" / "vctk" / "local"


@pytest.fixture
def unit_table(monkeypatch):
    """The script's function."""
    monkeypatch.syspath_prepend(LOCAL)
    import unit_table

    return unit_table.unit_table


def test_figures_have_their_intervals_and_others_have_none(unit_table):
    scores = {
        "pnmi": 0.5,
        "abx_within": 0.0,
        "abx_across": None,
        "bitrate_entropy": 371.4,
        "speaker_probe": 0.25,
        "speaker_probe_chance": 0.125,
        "intervals": {"pnmi": [0.45, 0.55]},
    }
    _, _, row = unit_table({"ours": scores}).splitlines()
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells == ["ours", "0.500 [0.450, 0.550]", "–", "–", "–", "0.000", "–", "–", "–", "371", "–", "0.250 (0.125)"]


def test_scores_without_any_interval_are_a_table_too(unit_table):
    assert "| 0.500 |" in unit_table({"ours": {"pnmi": 0.5}})
