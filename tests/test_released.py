"""The released model: what is in the package, what its card says, and its units of a sentence."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

import vqaudio
from vqaudio.cli import main
from vqaudio.model_directory import load_config, load_model
from vqaudio.released import FOLDER, model_folder
from vqaudio.units.directory import read_units

ROOT = Path(__file__).resolve().parent.parent
CARD = (FOLDER / "README.md").read_text(encoding="utf-8")
SENTENCE = ROOT / "recipes/vctk/corpus/wav24/p007/p007_001.opus"


def test_the_weights_take_less_than_12_megabytes():
    assert (FOLDER / "model.safetensors").stat().st_size < 12e6


def test_the_card_names_the_weights_and_the_settings_hold_no_path():
    loaded = load_model(FOLDER)
    assert loaded.hash in CARD
    assert "/" not in (FOLDER / "config.yaml").read_text()


def test_the_command_of_the_card_makes_a_model_of_this_shape():
    from vqaudio.training.app import compose

    command = re.search(r"vqaudio train (.*?)```", CARD, flags=re.DOTALL)
    assert command is not None
    words = shlex.split(command[1].replace("\\\n", " "))
    made, released = compose(words), load_config(FOLDER)
    for part in ("model", "quantizer", "trainer", "seed"):
        assert made[part] == released[part]


def test_speakers_of_the_card_are_counted(capsys):
    assert f"{len(vqaudio.load().speakers) - 1} speakers" in CARD


def test_units_of_a_sentence_are_those_of_the_release_and_speech_follows(tmp_path):
    units = tmp_path / "units"
    assert main(["extract", "--model", "default", "--out", str(units), str(SENTENCE)]) == 0
    codes = next(iter(read_units(units))).codes
    expected = np.loadtxt(Path(__file__).parent / "data" / "released_units.txt", dtype=np.int64)
    # Processors round differently, which a frame between two codewords may notice.
    assert (codes[0] == expected).mean() > 0.98
    speech = vqaudio.load().decode(codes[:, :50])
    assert len(speech) == 50 * 160
    assert np.isfinite(speech).all()


@pytest.mark.parametrize("model", ["./default", Path("default")])
def test_a_folder_of_the_name_default_can_be_given(model):
    assert model_folder(model) == Path("default")
