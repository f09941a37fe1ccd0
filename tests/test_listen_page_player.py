"""The player of the listening page, by what its graph renders."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from browser import start_browser
from page_server import RATE, PageServer, session

pytestmark = pytest.mark.slow  # starts a browser

FADE = 80  # samples
# Plays clips of the given samples, and returns what comes out.
RENDER = """
const [clips, loop, seconds, commands, soften] = arguments;
return import("/player.js").then(async ({ Player, fadeEnds }) => {
  const context = new OfflineAudioContext(1, seconds * 16000, 16000);
  const buffers = new Map(Object.entries(clips).map(([name, samples]) => {
    const buffer = new AudioBuffer({ length: samples.length, sampleRate: 16000 });
    buffer.copyToChannel(Float32Array.from(samples), 0);
    if (soften) fadeEnds(buffer);
    return [name, buffer];
  }));
  const player = new Player(() => context, buffers, loop);
  const obey = (names) => names.forEach((name) => name === "pause" ? player.pause() : player.play(name));
  for (const [time, ...names] of commands) {
    if (time === 0) obey(names);
    else context.suspend(time).then(() => { obey(names); context.resume(); });
  }
  const rendered = await context.startRendering();
  await new Promise((resolve) => setTimeout(resolve, 50)); // for "ended"
  return { samples: [...rendered.getChannelData(0)], playing: player.playing, heard: [...player.heardSeconds] };
});
"""


@pytest.fixture(scope="module")
def driver(tmp_path_factory) -> Iterator[Any]:
    browser = start_browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.quit()


@pytest.fixture(scope="module")
def render(driver) -> Iterator[Any]:
    with PageServer(session("acr")) as server:
        driver.get(server.address)

        def run(
            clips: dict[str, np.ndarray], loop: bool, seconds: float, commands: list[Any], soften: bool = False
        ) -> Any:
            lists = {name: samples.tolist() for name, samples in clips.items()}
            result = driver.execute_script(RENDER, lists, loop, seconds, commands, soften)
            return np.array(result["samples"]), result

        yield run


ONES = np.ones(RATE // 2)
LEAD = 160  # samples from a command to what it does
RISE = (1 - np.cos(np.pi * np.arange(FADE) / FADE)) / 2


def test_a_switch_fades_out_then_in_within_5_ms_each_and_never_crosses(render) -> None:
    # Commands come at multiples of 128 samples, as browsers render.
    samples, _ = render({"a": ONES, "b": -ONES}, True, 0.6, [[0, "a"], [0.2, "b"], [0.4, "pause"]])
    expected = np.zeros(9600)
    first, second, end = LEAD, 3200 + LEAD, 6400 + LEAD
    expected[first:second] = 1
    expected[first : first + FADE] = RISE
    expected[second : second + FADE] = 1 - RISE
    expected[second + FADE : end] = -1
    expected[second + FADE : second + 2 * FADE] = -RISE
    expected[end : end + FADE] = RISE - 1
    np.testing.assert_allclose(samples, expected, atol=0.005)
    inside = slice(second + 1, second + FADE - 1)
    assert (samples[inside] > 0).all()  # the first alone
    assert (samples[second + FADE + 2 : second + 2 * FADE] < 0).all()  # then the second alone


def test_after_a_switch_the_other_clip_continues_at_the_same_sample(render) -> None:
    ramp = (1 + np.arange(RATE // 2)) / RATE
    samples, _ = render({"a": ramp, "b": -ramp}, True, 1.6, [[0, "a"], [0.4, "b"], [1.2, "a"]])
    at = np.arange(len(samples))
    expected = ramp[(at - LEAD) % len(ramp)]
    inside = (at > 6400 + LEAD + 2 * FADE) & (at < 19200)
    np.testing.assert_allclose(samples[inside], -expected[inside], atol=1e-6)
    after = at > 19200 + LEAD + 2 * FADE
    np.testing.assert_allclose(samples[after], expected[after], atol=1e-6)


def test_a_paused_clip_continues_where_it_was(render) -> None:
    ramp = (1 + np.arange(RATE // 2)) / RATE
    samples, _ = render({"a": ramp}, True, 1.0, [[0, "a"], [0.2, "pause"], [0.6, "a"]])
    at = np.arange(len(samples))
    after = at > 9600 + LEAD + FADE
    np.testing.assert_allclose(samples[after], ramp[(at[after] - 9600 - LEAD + 3200) % len(ramp)], atol=1e-4)


def test_a_loop_makes_no_click_and_has_no_gap(render) -> None:
    sine = np.sin(2 * np.pi * 333.3 * np.arange(RATE // 2) / RATE + 1)  # its ends do not meet
    samples, _ = render({"a": sine}, True, 2, [[0, "a"]], soften=True)
    faded = sine.copy()
    faded[:FADE] *= RISE
    faded[-FADE:] *= RISE[::-1]
    start = LEAD + FADE
    expected = np.tile(faded, 5)[: len(samples) - LEAD]
    np.testing.assert_allclose(samples[start:], expected[FADE:], atol=1e-5)
    assert np.abs(np.diff(samples)).max() <= 1.05 * np.abs(np.diff(sine)).max()


def test_many_switches_in_an_instant_are_played_one_after_the_other(render) -> None:
    names = ["b", "c", "a", "b", "c", "a", "b"]
    samples, _ = render({"a": ONES, "b": -ONES, "c": 0.5 * ONES}, True, 0.6, [[0, "a"], [0.2, *names]])
    assert np.abs(np.diff(samples)).max() < 1.1 * np.pi / 2 / FADE  # the steepest step of a fade
    np.testing.assert_allclose(samples[3200 + LEAD + (2 * FADE + 128) * len(names) :], -1, atol=1e-6)


def test_a_clip_that_does_not_loop_ends_and_counts_as_heard(render) -> None:
    samples, result = render({"a": ONES, "b": -ONES}, False, 1.2, [[0, "a"], [0.2, "b"]])
    end = 3200 + LEAD + FADE + len(ONES)
    assert (samples[3200 + LEAD + 2 * FADE : end - 1] == -1).all()
    assert (samples[end + 1 :] == 0).all()
    assert result["playing"] is False
    heard = dict(result["heard"])
    assert heard["b"] == 0.5
    assert heard["a"] == pytest.approx(0.19, abs=0.01)


def test_both_channels_of_a_stereo_clip_are_faded_and_kept(driver, render) -> None:
    fade = """return import("/player.js").then(({ fadeEnds }) => {
      const buffer = new AudioBuffer({ length: 8000, sampleRate: 16000, numberOfChannels: 2 });
      [1, -0.5].forEach((level, channel) => buffer.getChannelData(channel).fill(level));
      fadeEnds(buffer);
      return [0, 1].map((channel) => [...buffer.getChannelData(channel)]);
    });"""
    expected = np.ones(8000)
    expected[:FADE], expected[-FADE:] = RISE, RISE[::-1]
    np.testing.assert_allclose(driver.execute_script(fade), [expected, -0.5 * expected], atol=1e-6)
