"""Whatever is in the data, the three kinds of pages show it as text: no name can become a part of the page."""

from pathlib import Path

import jinja2
import pytest
from finished_run import Page, finished_run

from vqaudio.listening.analysis.figures import analyse
from vqaudio.listening.analysis.page import analysis_page
from vqaudio.listening.analysis.ratings import Rating, Results
from vqaudio.names import file_name
from vqaudio.report.comparison import build_comparison
from vqaudio.report.page import build_report
from vqaudio.report.render import render

MARK = "<script>\"'&"  # no text of a page but a script, an end of either kind of attribute, or an entity


def read(path: Path) -> Page:
    return Page(path.read_text(encoding="utf-8"))


def check(marked: Page, plain: Page, shown: list[str]) -> None:
    """The marks change no element and no attribute, and every marked name is shown as it is."""
    assert set(marked.tags) <= set(plain.tags)
    assert {name for name, _ in marked.attributes} == {name for name, _ in plain.attributes}
    texts = [marked.text, *(value for _, value in marked.attributes if value)]
    for name in shown:
        assert any(f"{name}{MARK}" in text for text in texts), name


def test_the_report_shows_names_of_everything_as_text(tmp_path):
    plain = read(build_report(finished_run(tmp_path / "plain", "run")))
    exp = finished_run(tmp_path / "marked", f"run{MARK}", MARK)
    lost = exp / f"wav/test_seen{MARK}" / f"{file_name(f'p225_001{MARK}')}.wav"
    lost.unlink()
    marked = read(build_report(exp))
    shown = [
        *("run", "p225_006", "Say <i>five</i> & six", "AH0", "p225", "voice of p226", "test_seen", "train"),
        str(tmp_path / "marked" / "data" / "train"),  # in the configuration
    ]
    check(marked, plain, shown)
    assert str(lost) in marked.text  # in the sentence about what could not be read


def test_the_comparison_shows_names_of_everything_as_text(tmp_path):
    pages = []
    for mark in ("", MARK):
        exps = [finished_run(tmp_path / f"{tag}{bool(mark)}", f"{tag}{mark}", mark) for tag in ("one", "two")]
        (exps[1] / "scores.json").write_text("broken")
        pages.append(read(build_comparison(exps, tmp_path / f"comparison{bool(mark)}.html")))
    shown = ["one", "two", "p225_006", "Say <i>five</i> & six", "AH0", "test_seen"]
    shown += [str(tmp_path / "oneTrue" / "data" / "train"), str(tmp_path / "twoTrue" / "exp" / "two")]
    check(pages[1], pages[0], shown)


def panel(kind: str, mark: str) -> Results:
    """Three listeners with a name each rate two systems on an item, or compare them."""
    other = f"b{mark}" if kind in ("ccr", "ab", "abx") else None
    values = {"mushra": (95.0, 40.0, 99.0), "ccr": (1.0, 2.0, -3.0)}.get(kind, (1.0, 0.0, 1.0))
    found = [Rating(f"L{n}{mark}", f"item{mark}", f"a{mark}", value, other) for n, value in enumerate(values)]
    found += [Rating(f"L{n}{mark}", f"item{mark}", f"c{mark}", 3.0) for n in range(3) if other is None]
    found += [Rating(f"L2{mark}", f"item{mark}", "reference", 10.0)] if kind == "mushra" else []
    return Results(kind, found, 48000, 0)


@pytest.mark.parametrize("kind", ["mushra", "acr", "dcr", "ccr", "ab", "abx"])
def test_the_page_of_a_listening_test_shows_names_of_everything_as_text(kind):
    plain, marked = (Page(analysis_page(analyse(panel(kind, mark)), f"test{mark}")) for mark in ("", MARK))
    check(marked, plain, ["test", "L0", "L2", "a", "b" if kind in ("ccr", "ab", "abx") else "c"])


def test_a_template_without_a_value_is_an_error_and_not_a_gap(tmp_path):
    template = tmp_path / "page.html"
    template.write_text("{{ absent }}")
    with pytest.raises(jinja2.UndefinedError, match="absent"):
        render(template)


def test_no_template_switches_escaping_off():
    import vqaudio.listening.analysis.page
    import vqaudio.report.render

    folders = [vqaudio.report.render.TEMPLATES, vqaudio.listening.analysis.page.TEMPLATE.parent]
    templates = [path for folder in folders for path in folder.glob("*.html")]
    assert len(templates) >= 5
    for path in templates:
        text = path.read_text(encoding="utf-8")
        assert "safe" not in text, path
        assert "autoescape" not in text, path
        assert "<script" not in text, path
