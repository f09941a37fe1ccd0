"""The table of curves of change penalties: means over seeds, beside a baseline."""

import sys
from pathlib import Path
from typing import Any

import pytest

from vqaudio.errors import UserError


@pytest.fixture
def curve_table(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(Path(__file__).parent.parent / "recipes/vctk/local")
    import curve_table

    yield curve_table.curve_table
    sys.modules.pop("curve_table", None)


def row(model: str, penalty: float, pnmi: float, abx: float) -> dict[str, Any]:
    others = {"bitrate_deduplicated": 200.4, "abx_units_across": 0.3, "phone_error_rate": 1.5}
    return {"model": model, "change_penalty": penalty, "pnmi": pnmi, "abx_across": abx, **others}


ROWS = [row("a", 0, 0.3, 0.2), row("a", 2, 0.4, 0.3), row("b", 0, 0.5, 0.4), row("b", 2, 0.4, 0.1)]
ROWS += [row("mfcc", 0, 0.2, 0.6), row("mfcc", 2, 0.5, 0.4)]


def test_a_row_has_the_mean_the_range_and_the_ratio_at_the_same_penalty(curve_table: Any) -> None:
    table = curve_table(ROWS, {"ours": ["a", "b"], "MFCC": ["mfcc"]}).splitlines()
    assert table[0].endswith("| PNMI by that of MFCC | ABX by that of MFCC |")
    ours = "| 200 [200, 200] | 0.400 [0.300, 0.500] | 0.300 [0.200, 0.400] | 0.300 [0.300, 0.300] | 1.50 [1.50, 1.50] "
    assert table[2] == f"| ours | 0 {ours}| 2.00 | 0.50 |"
    assert table[3].endswith("| 0.80 | 0.50 |")
    assert table[4] == "| MFCC | 0 | 200 | 0.200 | 0.600 | 0.300 | 1.50 | 1.00 | 1.00 |"
    assert len(table) == 6


def test_a_model_without_a_curve_is_named(curve_table: Any) -> None:
    with pytest.raises(UserError, match="c: the curves have no such model; they have a, b, mfcc"):
        curve_table(ROWS, {"ours": ["a", "c"]})
