"""The picture of a recording, its units and the speech made from them."""

import numpy as np
import pytest
from matplotlib.image import imread
from tiny_model import save_tiny_model
from tiny_training import write_tones

from vqaudio.cli import main
from vqaudio.codec import load
from vqaudio.report.drawing import DPI, HEIGHT, WIDTH, _units, draw, is_drawing


@pytest.fixture
def wav(tmp_path):
    return write_tones(tmp_path / "tones", speakers=1, utterances=1) / "s0_0.wav"


def test_a_picture_is_the_same_bytes_again_and_replaces_its_former_self(tmp_path, wav):
    codec, out = load(save_tiny_model(tmp_path / "model", groups=2)), tmp_path / "a.png"
    draw(codec, wav, out, 0.5, None, 0)
    first = out.read_bytes()
    draw(codec, wav, out, 0.5, None, 0)
    assert out.read_bytes() == first
    assert imread(out).shape[:2] == (round(HEIGHT * DPI), round(WIDTH * DPI))
    assert is_drawing(out)
    for seconds, speaker in ((0.25, None), (0.5, "p225")):
        draw(codec, wav, out, seconds, speaker, 0)
        assert out.read_bytes() != first


def test_runs_of_a_unit_are_one_box_each(tmp_path):
    from matplotlib.figure import Figure

    axes = Figure().subplots()
    _units(axes, np.array([[3, 3, 3, 5], [1, 1, 2, 2]]), frame_rate=2.0)
    assert [(bar.get_x(), bar.get_width(), round(bar.get_y() + 0.5)) for bar in axes.patches] == [
        (0.0, 1.5, 0),
        (1.5, 0.5, 0),
        (0.0, 1.0, 1),
        (1.0, 1.0, 1),
    ]


def test_seconds_must_be_above_0(tmp_path, wav, capsys):
    command = ["draw", "--model", save_tiny_model(tmp_path / "model"), wav, "--out", tmp_path / "a.png", "--seconds", 0]
    assert main([str(word) for word in command]) == 2
    assert capsys.readouterr().err == "vqaudio: draw: --seconds is 0; give a number above 0\n"
