"""The pages in a real browser: no request to any network, no error, accessible; every player plays."""

import pytest
from browser import axe_violations, network, start_browser
from finished_run import finished_run
from test_listening_analysis import panel

from vqaudio.listening.analysis.figures import analyse
from vqaudio.listening.analysis.page import analysis_page
from vqaudio.report.comparison import build_comparison
from vqaudio.report.page import build_report
from vqaudio.report.samples import NUM_SAMPLES

pytestmark = pytest.mark.slow  # starts a browser


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    browser = start_browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.quit()


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The page about a run, the one that compares it with another, and those about two listening tests."""
    exps = [finished_run(tmp_path_factory.mktemp("runs"), tag) for tag in ("one", "two")]
    found = {
        "report": build_report(exps[0]),
        "comparison": build_comparison(exps, exps[0].parent / "comparison.html"),
    }
    for kind in ("mushra", "ab"):
        found[kind] = exps[0].parent / f"{kind}.html"
        found[kind].write_text(analysis_page(analyse(panel(kind)), "test"), encoding="utf-8")
    return found


@pytest.mark.parametrize("colours", ["light", "dark"])
@pytest.mark.parametrize("name", ["report", "comparison", "mushra", "ab"])
def test_a_page_opens_offline_without_an_error_and_is_accessible(name, colours, driver, pages) -> None:
    network(driver)
    driver.get_log("browser")
    media = {"features": [{"name": "prefers-color-scheme", "value": colours}]}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    driver.get(pages[name].as_uri())
    asked = [m["params"]["request"]["url"] for m in network(driver) if m["method"] == "Network.requestWillBeSent"]
    assert pages[name].as_uri() in asked
    assert [url for url in asked if not url.startswith(("data:", pages[name].as_uri()))] == []
    assert driver.get_log("browser") == []
    assert axe_violations(driver) == []
    wide = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert driver.execute_script(wide) <= 0


@pytest.mark.parametrize("name", ["report", "comparison"])
def test_every_picture_and_player_can_be_decoded(name, driver, pages) -> None:
    driver.get(pages[name].as_uri())
    seconds = driver.execute_async_script(
        """
        const done = arguments[0];
        Promise.all([...document.querySelectorAll("audio")].map((player) => new Promise((resolve) => {
          player.onloadedmetadata = () => resolve(player.duration);
          player.onerror = () => resolve(null);
          player.load(); player.preload = "auto";
        }))).then(done);
        """
    )
    assert len(seconds) == 3 * NUM_SAMPLES
    assert seconds == pytest.approx([0.6] * len(seconds), abs=0.02)
    widths = driver.execute_async_script(
        """
        const done = arguments[0];
        Promise.all([...document.querySelectorAll("svg image")].map((picture) => {
          const image = new Image();
          image.src = picture.getAttribute("href");
          return image.decode().then(() => image.naturalWidth);
        })).then(done);
        """
    )
    assert len(widths) > 12
    assert min(widths) > 10


def test_the_boundaries_of_units_can_be_switched_off(driver, pages) -> None:
    driver.get(pages["report"].as_uri())
    shown = "return getComputedStyle(document.querySelector('.bound')).display"
    assert driver.execute_script(shown) == "inline"
    driver.execute_script("document.getElementById('boundaries').click()")
    assert driver.execute_script(shown) == "none"
