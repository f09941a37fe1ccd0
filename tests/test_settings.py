"""The table of bounds: complete, kept by all shipped files, and a line for every wrong value."""

import copy
from pathlib import Path

import pytest
from conftest import ROOT
from omegaconf import DictConfig, OmegaConf
from tiny_training import tiny_overrides

from vqaudio.errors import UserError
from vqaudio.model import build_model
from vqaudio.training.app import compose
from vqaudio.training.settings import BOUNDS, QUANTIZER_BOUNDS, check, describe

CHOICES = sorted(f"{path.parent.name}={path.stem}" for path in (ROOT / "conf").glob("*/*.yaml"))
REQUIRED = ["data.train=train", "data.valid=valid", "exp_dir=exp"]

WRONG = [
    ("quantizer.options.groups=0", "a whole number of at least 1"),
    ("quantizer.options.shared=1", "true or false"),
    ("quantizer.options.update=sgd", "ema or gradient"),
    ("quantizer.options.decay=1", "at least 0 and below 1"),
    ("quantizer.options.codebook_size=1e9", "at most 65536"),
    ("quantizer.options.commitment=-0.1", "at least 0"),
    ("quantizer.name=vq", "kmeans or gumbel"),
    ("trainer.precision=fp16", "auto, bf16 or float32"),
    ("trainer.precision=32", "auto, bf16 or float32"),
    ("trainer.device=gpu", "auto, cpu or cuda"),
    ("trainer.device=cuda:0", "auto, cpu or cuda"),
    ("trainer.max_steps=0", "a whole number of at least 1"),
    ("trainer.max_steps=1.5", "a whole number of at least 1"),
    ("trainer.max_steps=true", "a whole number of at least 1"),
    ("trainer.max_steps=many", "a whole number of at least 1"),
    ("trainer.max_steps=null", "a whole number of at least 1"),
    ("trainer.max_seconds=0", "a number above 0, or null"),
    ("trainer.lr=0", "a number above 0"),
    ("trainer.lr=-1e-3", "a number above 0"),
    ("trainer.lr=.nan", "a number above 0"),
    ("trainer.lr=.inf", "a number above 0"),
    ("trainer.lr=[1e-3]", "a number above 0"),
    ("trainer.final_lr=2", "at least 0 and at most 1"),
    ("trainer.warmup=-0.1", "at least 0 and at most 1"),
    ("trainer.clip=0", "a number above 0"),
    ("trainer.mel_weight=.inf", "a number of at least 0"),
    ("trainer.label_coefficients=40", "at least 1 and at most 39"),
    ("trainer.label_offsets=[]", "a list, each item a number"),
    ("trainer.label_offsets=[0,soon]", "a list, each item a number"),
    ("trainer.label_offsets=0", "a list, each item a number"),
    ("model.shaper.bins=0", "a whole number of at least 1"),
    ("trainer.jitter=1.1", "at least 0 and at most 1"),
    ("trainer.speaker_dropout=-1", "at least 0 and at most 1"),
    ("trainer.ema_decay=1", "at least 0 and below 1"),
    ("trainer.codebook_start=1", "at least 0 and below 1"),
    ("trainer.codebook_phase.segments=0", "a whole number of at least 1"),
    ("trainer.codebook_phase.frames=1e6", "at most 100000"),
    ("trainer.codebook_phase.speed=-0.5", "at least 0"),
    ("trainer.decoder_phase.segments=0", "a whole number of at least 1"),
    ("trainer.decoder_phase.frames=1e6", "at most 100000"),
    ("trainer.log_every=0", "a whole number of at least 1"),
    ("trainer.validate_every=-1", "a whole number of at least 1"),
    ("trainer.validate_utterances=0", "a whole number of at least 1"),
    ("trainer.save_every=0.5", "a whole number of at least 1"),
    ("data.sample_rate=0", "a whole number of at least 1000"),
    ("data.sample_rate=16kHz", "a whole number of at least 1000"),
    ("data.level_db=3", "at most 0, or null"),
    ("data.level_db=loud", "a number of at least -100"),
    ("data.pre_emphasis=1", "at least 0 and below 1"),
    ("data.train=''", "the path of a folder"),
    ("data.valid=[a,b]", "the path of a folder"),
    ("exp_dir=5", r"the path of a folder, \./5 if its name is 5"),
    ("exp_dir=null", "the path of a folder"),
    ("seed=-1", "at least 0 and at most 4294967295"),
    ("seed=0.5", "a whole number"),
    ("model.latent_dim=0", "a whole number of at least 1"),
    ("model.encoder.channels=[8,0]", "a list, each item a whole number"),
    ("model.encoder.strides=8", "a list, each item a whole number"),
    ("model.decoder.cycle=40", "at most 20"),
    ("model.conditioner.layers=-1", "a whole number of at least 0"),
]

DO_NOT_FIT = [
    ("quantizer.options.groups=3", r"quantizer\.options: groups \(3\) must divide latent_dim \(8\); change one"),
    ("model.encoder.channels=[8]", r"model\.encoder: .*1, 2 and 2"),
    ("model.encoder.kernels=[1,1]", r"model\.encoder: .*receptive field"),
    ("model.conditioner.kernel=4", r"model\.conditioner: .*odd.*4"),
    ("model.decoder.gate=7", r"model\.decoder: .*even.*7"),
]


@pytest.fixture(scope="module")
def good() -> DictConfig:
    return compose(tiny_overrides(Path("data"), Path("exp")))


@pytest.fixture
def config(good: DictConfig) -> DictConfig:
    return copy.deepcopy(good)


@pytest.mark.parametrize("choice", CHOICES)
def test_every_shipped_file_keeps_the_bounds(choice: str) -> None:
    check(compose([*REQUIRED, choice]))


def test_the_table_has_every_setting_and_no_other() -> None:
    for name, bounds in QUANTIZER_BOUNDS.items():
        cfg = OmegaConf.to_container(compose([*REQUIRED, f"quantizer={name}"]))
        nodes, leaves = [("", cfg)], set()
        while nodes:
            key, node = nodes.pop()
            if isinstance(node, dict):
                nodes += [(f"{key}.{part}" if key else part, item) for part, item in node.items()]
            else:
                leaves.add(key)
        assert leaves == BOUNDS.keys() | bounds.keys()


@pytest.mark.parametrize(("override", "bound"), WRONG)
def test_a_wrong_value_is_named_with_its_bound_and_the_cure(override: str, bound: str, config: DictConfig) -> None:
    key, _, text = override.partition("=")
    OmegaConf.update(config, key, OmegaConf.create(f"value: {text}").value, merge=False)
    with pytest.raises(UserError, match=bound) as caught:
        check(config)
    message = str(caught.value)
    assert message.startswith(f"train: {key}=")
    assert "; correct it" in message
    assert "\n" not in message


@pytest.mark.parametrize("value", ["0", "-1", "nan"])
def test_the_temperature_of_gumbel_is_checked_too(value: str) -> None:
    overrides = [*tiny_overrides(Path("data"), Path("exp"), quantizer="gumbel"), f"quantizer.temperature.end={value}"]
    with pytest.raises(UserError, match=rf"quantizer\.temperature\.end={value} must be a number above 0"):
        check(compose(overrides))


@pytest.mark.parametrize(("override", "message"), DO_NOT_FIT)
def test_parts_that_do_not_fit_together_are_a_mistake_of_the_user(override: str, message: str) -> None:
    overrides = [*tiny_overrides(Path("data"), Path("exp")), "model.encoder.context_layers=0", override]
    cfg = compose(overrides)
    check(cfg)
    with pytest.raises(UserError, match=message) as caught:
        build_model(cfg, speakers=2)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["+trainer.foo=1"], r"trainer\.foo=1 is not a setting; remove it"),
        (["+quantizer.temperature.start=1"], r"quantizer\.temperature\.start=1 is not a setting"),
        (["~trainer.lr"], r"trainer\.lr is missing and must be a number above 0; give it"),
        (["trainer.codebook_phase=5"], r"trainer\.codebook_phase\.frames is missing"),
        (["model.encoder=null"], r"model\.encoder\.channels is missing"),
        (
            ["trainer.decoder_start=0.1"],
            r"decoder_start=0\.1 must be at least trainer\.codebook_start \(0\.2\).*; raise",
        ),
        (["model.encoder.strides=[8,1001]"], r"strides=\[8, 1001\] make a hop of 8008 samples.*\(8000 samples\); use"),
        (["trainer.lr=${v}"], r"trainer\.lr cannot be resolved \(Interpolation key 'v' not found\); correct"),
        (["seed=${seed}"], "seed cannot be resolved"),
        (["exp_dir=???"], "exp_dir is required; give it as exp_dir=PATH"),
        (["data.train=???"], r"data\.train is required; give it as data\.train=PATH"),
    ],
)
def test_settings_that_are_missing_unknown_or_contradict_are_named(overrides: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        check(compose([*tiny_overrides(Path("data"), Path("exp")), *overrides]))
    assert "\n" not in str(caught.value)


def test_references_and_whole_numbers_for_other_numbers_are_fine() -> None:
    overrides = ["trainer.lr=1", "seed=${trainer.log_every}", "data.level_db=null", "trainer.max_seconds=null"]
    check(compose([*tiny_overrides(Path("data"), Path("exp")), *overrides]))


def test_the_description_has_every_setting_of_the_default_files() -> None:
    text = describe()
    for key in BOUNDS.keys() | QUANTIZER_BOUNDS["kmeans"].keys():
        for part in key.split("."):
            assert f"{part}:" in text, key
    for choice in CHOICES:
        group, name = choice.split("=")
        line = next(line for line in text.splitlines() if line.startswith(f"  {group}:"))
        assert name in line
