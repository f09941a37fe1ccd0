"""Features of networks of transformers: the layers, the same whatever is extracted with them, and what is refused."""

import functools
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from vqaudio import audio, files
from vqaudio.cli import main
from vqaudio.datadir import Utterance, write_utterances
from vqaudio.errors import UserError
from vqaudio.metrics.curve import encode_at_penalties, load_unit_model
from vqaudio.units import read_units, ssl
from vqaudio.units.hub import Place
from vqaudio.units.kmeans import KMeansUnits
from vqaudio.units.ssl import Encoder

transformers = pytest.importorskip("transformers", reason="the extra ssl is not installed")
hub = pytest.importorskip("huggingface_hub")

RATE, HOP, FIELD, LAYERS = 16000, 160, 170, 3
SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "conv_dim": (16, 16, 16),
    "conv_kernel": (20, 8, 2),
    "conv_stride": (10, 8, 2),
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 4,
}
STABLE = {"feat_extract_norm": "layer", "do_stable_layer_norm": True}
NETWORKS = {
    "HuBERT": ("HubertConfig", {}),
    "HuBERT large": ("HubertConfig", STABLE),
    "wav2vec 2.0": ("Wav2Vec2Config", {}),
    "wav2vec 2.0 large": ("Wav2Vec2Config", STABLE),
    "WavLM": ("WavLMConfig", {}),
    "WavLM large": ("WavLMConfig", STABLE),
    "data2vec": ("Data2VecAudioConfig", {"num_conv_pos_embeddings": 2}),
    "conformer": ("Wav2Vec2ConformerConfig", {}),
    "SEW": ("SEWConfig", {"squeeze_factor": 2}),
}


def save_network(folder: Path, name: str, normalize: bool = True, seed: int = 0) -> Path:
    """A small random network of transformers, as save_pretrained writes it."""
    config, changes = NETWORKS[name]
    torch.manual_seed(seed)
    model = transformers.AutoModel.from_config(getattr(transformers, config)(**SIZES | changes))
    with torch.no_grad():
        for weight in model.parameters():  # so that norms are no identities
            weight.add_(0.1 * torch.randn_like(weight))
    transformers.utils.logging.disable_progress_bar()
    model.save_pretrained(folder)
    transformers.utils.logging.enable_progress_bar()
    transformers.Wav2Vec2FeatureExtractor(do_normalize=normalize).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    root = tmp_path_factory.mktemp("networks")
    return {name: save_network(root / name, name) for name in NETWORKS}


@pytest.fixture(scope="module")
def speech(tmp_path_factory):
    """Seven recordings of different length and rate, off centre and loud, as a data directory."""
    root = tmp_path_factory.mktemp("speech")
    generator = np.random.default_rng(0)
    for n in range(7):
        t = np.arange(4000 + 1237 * n)
        wav = 0.1 + np.sin(t * (0.05 + 0.1 * np.sin(t / 900) + 0.02 * n)) * 0.3
        audio.write(root / f"u{n}.wav", wav + 0.01 * generator.standard_normal(len(t)), RATE if n % 2 else 8000)
    write_utterances(root / "data", [Utterance(f"u{n}", root / f"u{n}.wav", "s") for n in range(7)])
    return root / "data"


def utterances(speech) -> list[Utterance]:
    return [Utterance(f"u{n}", speech.parent / f"u{n}.wav", "s") for n in range(7)]


@functools.cache
def plain_network(folder: Path):
    """The whole network, and a list that gets what enters the first layer and what leaves each."""
    model, found = transformers.AutoModel.from_pretrained(folder).eval(), []
    layers = model.encoder.layers
    layers[0].register_forward_pre_hook(lambda module, args: found.append(args[0]))
    for each in layers:
        each.register_forward_hook(lambda module, args, out: found.append(out[0] if isinstance(out, tuple) else out))
    return model, transformers.AutoFeatureExtractor.from_pretrained(folder), found


def plain_features(folder: Path, wav: np.ndarray, layer: int, dtype=torch.float32, normalized=False) -> torch.Tensor:
    """What enters (0) or leaves a layer of the whole network, one wav in a batch."""
    model, extractor, found = plain_network(folder)
    found.clear()
    samples = torch.from_numpy(wav)[None]
    if not normalized:
        samples = extractor(wav, sampling_rate=RATE, return_tensors="pt").input_values
    with torch.inference_mode(), torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        model(samples)
    return found[layer][0].float()


def features(folder: Path, utterance: Utterance, layer: int, precision="float32") -> torch.Tensor:
    return torch.cat(list(Encoder.find(Place(str(folder)), layer, precision, "cpu").pieces(utterance)))


def fit(network, speech, out, *extra) -> int:
    argv = ["kmeans", "fit", "--features", "hf", "--hub", str(network), "--layer", "2", "--data", str(speech)]
    return main([*argv, "--codebook-size", "12", "--out", str(out), *extra])


def apply(model, speech, out, *extra) -> int:
    return main(["kmeans", "apply", "--model", str(model), "--data", str(speech), "--out", str(out), *extra])


def the_line(capsys) -> str:
    error = capsys.readouterr().err
    assert error.count("\n") == 1, error
    return error


@pytest.mark.parametrize("layer", [0, 2, LAYERS])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_layer_is_what_leaves_it_in_a_plain_pass_through_transformers(networks, speech, name, layer):
    for utterance in utterances(speech)[:2]:
        wav, _ = audio.read(utterance.path, RATE)
        expected = plain_features(networks[name], wav, layer)
        found = features(networks[name], utterance, layer)
        assert len(found) == ((len(wav) - FIELD) // HOP + 1) // (2 if name == "SEW" else 1)
        torch.testing.assert_close(found, expected, atol=2e-4, rtol=2e-4)


@pytest.mark.parametrize("name", ["HuBERT large", "conformer"])
def test_the_last_layer_is_not_normalised_in_versions_of_transformers_that_do_it(networks, speech, tmp_path, name):
    shutil.copytree(networks[name], tmp_path / "n")
    change_config(tmp_path / "n", tie_last_hidden_states=True)  # what earlier versions did
    utterance = utterances(speech)[0]
    model = transformers.AutoModel.from_pretrained(tmp_path / "n").eval()
    with torch.inference_mode():
        states = model(torch.zeros(1, RATE), output_hidden_states=True)
    assert torch.equal(states.hidden_states[-1], states.last_hidden_state)
    assert torch.equal(features(tmp_path / "n", utterance, LAYERS), features(networks[name], utterance, LAYERS))


def test_audio_is_normalised_only_if_the_network_says_so(tmp_path, speech):
    folder = save_network(tmp_path / "n", "wav2vec 2.0 large", normalize=False)
    wav, _ = audio.read(utterances(speech)[1].path, RATE)
    found = features(folder, utterances(speech)[1], 2)
    torch.testing.assert_close(found, plain_features(folder, wav, 2), atol=2e-4, rtol=2e-4)
    normalised = save_network(tmp_path / "normalised", "wav2vec 2.0 large", normalize=True)
    assert not torch.allclose(found, features(normalised, utterances(speech)[1], 2), atol=1e-2)


@pytest.mark.parametrize("name", ["HuBERT", "wav2vec 2.0 large", "WavLM"])
def test_units_are_the_nearest_centroids_and_the_same_in_any_company(networks, speech, tmp_path, name):
    assert fit(networks[name], speech, tmp_path / "km") == 0
    assert apply(tmp_path / "km", speech, tmp_path / "whole", "--jobs", "1") == 0
    assert apply(tmp_path / "km", speech, tmp_path / "jobs", "--jobs", "3") == 0
    for shard in ("2/3", "3/3", "1/3"):
        assert apply(tmp_path / "km", speech, tmp_path / "parts", "--shard", shard) == 0
    alone = utterances(speech)[4]
    write_utterances(tmp_path / "alone", [alone])
    assert apply(tmp_path / "km", tmp_path / "alone", tmp_path / "one") == 0
    for file in ("units.txt", "units.json", "features.json"):
        whole = (tmp_path / "whole" / file).read_bytes()
        assert (tmp_path / "jobs" / file).read_bytes() == (tmp_path / "parts" / file).read_bytes() == whole
    assert (tmp_path / "one" / "units.txt").read_text() in (tmp_path / "whole" / "units.txt").read_text()
    codebook = KMeansUnits.load(tmp_path / "km").codebook
    units = read_units(tmp_path / "whole")
    assert (units.info.sample_rate, units.info.hop_length, units.info.frame_rate) == (RATE, HOP, RATE / HOP)
    used = set()
    for sequence, utterance in zip(units, utterances(speech), strict=True):
        wav, _ = audio.read(utterance.path, RATE)
        nearest = torch.cdist(plain_features(networks[name], wav, 2).double(), codebook.double()).argmin(dim=1)
        assert (sequence.codes[0] == nearest.numpy()).mean() > 0.99  # but for rounding
        used |= set(sequence.codes[0].tolist())
    assert len(used) > 6


@pytest.mark.parametrize("samples", [16000, 48009, 48010, 48170, 55555])
@pytest.mark.parametrize("name", ["HuBERT", "wav2vec 2.0 large"])
def test_long_recordings_are_seen_in_steps_with_context(networks, tmp_path, monkeypatch, name, samples):
    monkeypatch.setattr(ssl, "STEP_SECONDS", 1)
    monkeypatch.setattr(ssl, "CONTEXT_SECONDS", 1)
    wav = np.random.default_rng(0).uniform(-0.5, 0.5, samples).astype(np.float32)
    audio.write(tmp_path / "long.wav", wav, RATE)
    wav, _ = audio.read(tmp_path / "long.wav")
    wav = ((wav - wav.mean()) / np.sqrt(wav.var() + 1e-7)).astype(np.float32)
    expected = []
    for start in range(0, samples - FIELD + 1, RATE):
        before = min(start, RATE)
        seen = plain_features(networks[name], wav[start - before : start + 2 * RATE], 2, normalized=True)
        expected.append(seen[before // HOP :][: RATE // HOP])
    found = features(networks[name], Utterance("u", tmp_path / "long.wav", "s"), 2)
    assert len(found) == (samples - FIELD) // HOP + 1
    torch.testing.assert_close(found, torch.cat(expected), atol=2e-4, rtol=2e-4)


def test_steps_do_not_change_what_depends_on_less_than_the_context(networks, tmp_path, monkeypatch):
    audio.write(tmp_path / "long.wav", np.random.default_rng(0).uniform(-0.5, 0.5, 55555), RATE)
    utterance = Utterance("u", tmp_path / "long.wav", "s")
    whole = features(networks["wav2vec 2.0 large"], utterance, 0)  # convolutions alone
    monkeypatch.setattr(ssl, "STEP_SECONDS", 1)
    monkeypatch.setattr(ssl, "CONTEXT_SECONDS", 1)
    torch.testing.assert_close(features(networks["wav2vec 2.0 large"], utterance, 0), whole, atol=1e-5, rtol=1e-5)


def test_the_card_says_what_made_the_units(networks, speech, tmp_path):
    folder = networks["HuBERT"]
    assert fit(folder, speech, tmp_path / "km", "--precision", "bfloat16") == 0
    assert apply(tmp_path / "km", speech, tmp_path / "units") == 0
    card = json.loads((tmp_path / "units" / "features.json").read_text())
    assert (
        card.pop("encoder").items()
        >= {
            "hub": str(folder),
            "revision": "",
            "weights_sha256": files.sha256(folder / "model.safetensors"),
            "model_type": "hubert",
            "layer": 2,
            "sample_rate": RATE,
            "hop_length": HOP,
            "normalize": True,
            "precision": "bfloat16",
        }.items()
    )
    assert card == {"features": "hf", "sample_rate": RATE, "hop_length": HOP, "frame_rate": RATE / HOP,
                    "dimensions": 32, "codebook_size": 12, "standardised": False}  # fmt: skip


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_precision_is_that_of_the_fit(networks, speech, precision):
    utterance = utterances(speech)[1]
    wav, _ = audio.read(utterance.path, RATE)
    expected = plain_features(networks["HuBERT"], wav, 2, getattr(torch, precision))
    found = features(networks["HuBERT"], utterance, 2, precision)
    exact = features(networks["HuBERT"], utterance, 2)
    assert 0 < (found - exact).abs().mean() < 0.05
    assert (found - expected).abs().mean() < 0.5 * (found - exact).abs().mean()


def test_another_network_is_refused_in_one_line(networks, speech, tmp_path, capsys):
    moved = tmp_path / "moved"
    shutil.copytree(networks["HuBERT"], moved)
    assert fit(moved, speech, tmp_path / "km") == 0
    shutil.copytree(moved, tmp_path / "again")
    save_network(moved, "HuBERT", seed=1)
    capsys.readouterr()
    assert apply(tmp_path / "km", speech, tmp_path / "units") == 2
    assert "moved: its weights_sha256 is " in (line := the_line(capsys))
    assert "give that one (--hub, --revision)" in line
    assert not (tmp_path / "units").exists()
    save_network(tmp_path / "loud", "HuBERT", normalize=False)
    shutil.copy(tmp_path / "again" / "model.safetensors", tmp_path / "loud")
    assert apply(tmp_path / "km", speech, tmp_path / "units", "--hub", str(tmp_path / "loud")) == 2
    assert "loud: its normalize is False, not True" in the_line(capsys)
    assert apply(tmp_path / "km", speech, tmp_path / "units", "--hub", str(tmp_path / "again")) == 0


def test_a_curve_takes_the_units_and_refuses_another_network(networks, speech, tmp_path):
    moved = tmp_path / "moved"
    shutil.copytree(networks["HuBERT"], moved)
    assert fit(moved, speech, tmp_path / "km") == 0
    assert apply(tmp_path / "km", speech, tmp_path / "units", "--change-penalty", "1") == 0
    (plain, penalised), failed = encode_at_penalties(load_unit_model(tmp_path / "km"), speech, [0, 1], 2)
    assert not failed
    assert {sequence.utt: sequence.codes.tolist() for sequence in read_units(tmp_path / "units")} == {
        utt: codes.tolist() for utt, codes in penalised.items()
    }
    assert any((plain[utt] != penalised[utt]).any() for utt in plain)
    save_network(moved, "HuBERT", seed=1)
    with pytest.raises(UserError, match="moved: its weights_sha256 is"):
        load_unit_model(tmp_path / "km")


def test_only_what_is_missing_or_changed_is_done_again(networks, speech, tmp_path, capsys):
    shutil.copytree(speech.parent, tmp_path / "speech")
    write_utterances(tmp_path / "data", utterances(tmp_path / "speech" / "data"))
    data = tmp_path / "data"
    assert fit(networks["HuBERT"], data, tmp_path / "km") == 0
    short = tmp_path / "speech" / "u3.wav"
    kept = short.read_bytes()
    audio.write(short, np.full(FIELD - 1, 0.1), RATE)
    assert apply(tmp_path / "km", data, tmp_path / "units") == 1
    assert (
        f"u3.wav: {FIELD - 1} samples at 16000 Hz are less than a frame"
        in (tmp_path / "units" / "failed.txt").read_text()
    )
    audio.write(short, np.full(FIELD, 0.1), RATE)
    assert apply(tmp_path / "km", data, tmp_path / "units") == 0
    assert {s.utt: s.num_frames for s in read_units(tmp_path / "units")}["u3"] == 1
    assert "6 of 7 utterances already done" in capsys.readouterr().out
    short.write_bytes(kept)
    assert apply(tmp_path / "km", data, tmp_path / "units", "--verify") == 0
    assert apply(tmp_path / "km", speech, tmp_path / "fresh") == 0
    assert (tmp_path / "units" / "units.txt").read_bytes() == (tmp_path / "fresh" / "units.txt").read_bytes()


COMMIT, LATER = "1" * 40, "2" * 40


@pytest.fixture
def cache(tmp_path, networks, monkeypatch):
    """The cache of the hub with one network, and no network to reach the hub over."""
    folder = tmp_path / "cache" / "models--org--tiny"
    shutil.copytree(networks["HuBERT"], folder / "snapshots" / COMMIT)
    save_network(folder / "snapshots" / LATER, "HuBERT", seed=1)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(COMMIT)
    monkeypatch.setattr(hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(hub.constants, "HF_HUB_OFFLINE", True)
    return folder


def test_a_name_of_the_hub_stands_for_the_commit_of_the_fit(cache, speech, tmp_path, capsys):
    assert fit("org/tiny", speech, tmp_path / "km") == 0
    card = KMeansUnits.load(tmp_path / "km").encoder.card
    assert (card.hub, card.revision) == ("org/tiny", COMMIT)
    (cache / "refs" / "main").write_text(LATER)
    assert apply(tmp_path / "km", speech, tmp_path / "units") == 0
    assert fit("org/tiny", speech, tmp_path / "later") == 0
    assert KMeansUnits.load(tmp_path / "later").encoder.card.revision == LATER
    capsys.readouterr()
    assert apply(tmp_path / "km", speech, tmp_path / "other", "--hub", "org/tiny", "--revision", LATER) == 2
    assert "org/tiny: its weights_sha256 is" in the_line(capsys)


@pytest.mark.parametrize("name", ["org/missing", "no/such/folder", "./nothing", "org/tiny --revision v9"])
def test_a_network_that_is_not_there_is_one_line_with_a_cure(cache, speech, tmp_path, capsys, name):
    assert fit(name.split()[0], speech, tmp_path / "km", *name.split()[1:]) == 2
    line = the_line(capsys)
    assert line.startswith(
        f"vqaudio: --hub {name}: no folder, and not to be had from the Hugging Face hub or its cache"
    )
    assert "hf download" in line


class Harmful:
    def __reduce__(self):
        return (os.mkdir, ("harmed",))


def with_pickle(folder):
    (folder / "model.safetensors").unlink()
    torch.save({"x": Harmful()}, folder / "pytorch_model.bin")


def with_code(folder):
    change_config(folder, auto_map={"AutoConfig": "code.C", "AutoModel": "code.M"}, model_type="mine")
    (folder / "code.py").write_text("import os\nos.mkdir('harmed')\n")


def change_config(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def without_a_weight(folder):
    tensors = load_file(folder / "model.safetensors")
    del tensors["encoder.layers.0.attention.q_proj.weight"]
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def of_text(folder):
    sizes = {
        "hidden_size": 8,
        "num_attention_heads": 1,
        "num_hidden_layers": 1,
        "intermediate_size": 8,
        "vocab_size": 8,
    }
    transformers.BertModel(transformers.BertConfig(**sizes)).save_pretrained(folder)


def cut(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


DAMAGE = {
    "pickle": (with_pickle, "has no model.safetensors, and pickles are not read; give a --revision"),
    "code": (with_code, "transformers cannot open it"),
    "lacking": (without_a_weight, "its weights lack encoder.layers.0.attention.q_proj.weight and 0 others"),
    "text": (of_text, "bert has no convolutions over raw audio; give a network like HuBERT"),
    "cut": (cut, "transformers cannot open it (SafetensorError"),
    "larger": (lambda folder: change_config(folder, hidden_size=64), "transformers cannot open it"),
    "settings": (lambda folder: (folder / "config.json").write_text("{"), "transformers cannot open it"),
    "extractor": (lambda folder: (folder / "preprocessor_config.json").unlink(), "transformers cannot open it"),
    "shallow": (lambda folder: change_config(folder, num_hidden_layers=1), "has layers 0 to 1; give one of them"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_what_is_no_whole_network_of_safetensors_is_one_line(networks, speech, tmp_path, capsys, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(networks["HuBERT"], "broken")
    damage, message = DAMAGE[name]
    damage(Path("broken"))
    capsys.readouterr()
    assert fit("broken", speech, tmp_path / "km") == 2
    assert message in the_line(capsys)
    assert not Path("harmed").exists()
    assert not (tmp_path / "km").exists()


def test_weights_with_the_names_of_earlier_versions_are_read(networks, speech, tmp_path):
    old = tmp_path / "old"
    shutil.copytree(networks["HuBERT"], old)
    new = "parametrizations.weight.original"
    tensors = {
        f"hubert.{key}".replace(f"{new}0", "weight_g").replace(f"{new}1", "weight_v"): value
        for key, value in load_file(old / "model.safetensors").items()
        if key != "masked_spec_embed"
    }
    assert any(key.endswith("weight_g") for key in tensors)
    save_file(tensors, old / "model.safetensors", {"format": "pt"})
    change_config(old, architectures=["HubertForCTC"])
    found = features(old, utterances(speech)[0], 2)
    assert torch.equal(found, features(networks["HuBERT"], utterances(speech)[0], 2))


def test_weights_in_several_files_have_one_hash(networks, speech, tmp_path):
    model = transformers.AutoModel.from_pretrained(networks["HuBERT"])
    model.save_pretrained(tmp_path / "parts", max_shard_size="40KB")
    shutil.copy(networks["HuBERT"] / "preprocessor_config.json", tmp_path / "parts")
    assert len(list((tmp_path / "parts").glob("*.safetensors"))) > 1
    found = features(tmp_path / "parts", utterances(speech)[0], 2)
    assert torch.equal(found, features(networks["HuBERT"], utterances(speech)[0], 2))
    assert fit(tmp_path / "parts", speech, tmp_path / "km") == 0
    last = max((tmp_path / "parts").glob("*.safetensors"))
    tensors = load_file(last)
    save_file({name: tensor + 1 for name, tensor in tensors.items()}, last, {"format": "pt"})
    assert apply(tmp_path / "km", speech, tmp_path / "units") == 2


CARDS = {"layer": -1, "hop_length": 0, "precision": "int8", "normalize": 1, "hub": None, "unknown": 1}


@pytest.mark.parametrize("name", CARDS)
def test_a_damaged_card_is_no_model(networks, speech, tmp_path, name):
    assert fit(networks["HuBERT"], speech, tmp_path / "km") == 0
    tensors = load_file(tmp_path / "km")
    model = KMeansUnits.load(tmp_path / "km")
    about = {"features": "hf", "sample_rate": RATE, "hop_length": HOP, "encoder": vars(model.encoder.card)}
    save_file(tensors, tmp_path / "km", {"vqaudio_kmeans": json.dumps(about)})
    KMeansUnits.load(tmp_path / "km")
    about["encoder"] = about["encoder"] | {name: CARDS[name]}
    save_file(tensors, tmp_path / "km", {"vqaudio_kmeans": json.dumps(about)})
    with pytest.raises(UserError, match="km: not a k-means model"):
        KMeansUnits.load(tmp_path / "km")


OPTIONS = {
    "--features hf --layer 2": "needs a network and a layer of it; give --hub and --layer",
    "--features hf --hub x": "needs a network and a layer of it",
    "--features hf --hub x --layer 2 --hop-length 320": "--hop-length with --features hf: the network says it",
    "--features mfcc --layer 2": "--layer with --features mfcc: it is for --features hf; leave it out",
    "--features mfcc --precision float32": "--precision with --features mfcc",
    "--features mfcc --device cuda": "--device with --features mfcc",
    "--features hf --layer 2 --revision v1": "needs a network",
    "--features hf --hub NETWORK --layer 4": "--layer 4: NETWORK has layers 0 to 3; give one of them",
    "--features hf --hub NETWORK --layer 2 --revision v1": "is a folder; leave it out, or give a name of the hub",
}


@pytest.mark.parametrize("options", OPTIONS)
def test_options_that_do_not_fit_are_one_line(networks, speech, tmp_path, capsys, options):
    folder = str(networks["HuBERT"])
    argv = ["--data", str(speech), "--codebook-size", "4", "--out", str(tmp_path / "km")]
    assert main(["kmeans", "fit", *options.replace("NETWORK", folder).split(), *argv]) == 2
    assert OPTIONS[options].replace("NETWORK", folder) in the_line(capsys)


def test_a_model_without_a_network_takes_none(speech, tmp_path, capsys):
    argv = ["--data", str(speech), "--codebook-size", "4", "--out", str(tmp_path / "km")]
    assert main(["kmeans", "fit", "--features", "mfcc", *argv]) == 0
    capsys.readouterr()
    for option in (["--hub", "x"], ["--device", "cuda"]):
        assert apply(tmp_path / "km", speech, tmp_path / "units", *option) == 2
        assert "km: k-means on mfcc, without a network; leave out --hub and --device" in the_line(capsys)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is there")
def test_a_gpu_that_is_not_there_is_one_line(networks, speech, tmp_path, capsys):
    assert fit(networks["HuBERT"], speech, tmp_path / "km", "--device", "cuda") == 2
    assert "device cuda: torch finds no GPU here; use cpu" in the_line(capsys)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gives_nearly_the_same_features(networks, speech):
    utterance = utterances(speech)[0]
    found = torch.cat(list(Encoder.find(Place(str(networks["HuBERT"])), 2, "float32", "cuda").pieces(utterance)))
    torch.testing.assert_close(found, features(networks["HuBERT"], utterance, 2), atol=1e-2, rtol=1e-2)


def test_nothing_is_written_into_the_folder_of_a_network(networks, speech, tmp_path, capsys):
    folder = networks["HuBERT"]
    assert fit(folder, speech, folder / "km") == 2
    assert "lies in the input" in the_line(capsys)
    assert fit(folder, speech, tmp_path / "km") == 0
    capsys.readouterr()
    assert apply(tmp_path / "km", speech, folder / "units") == 2
    assert "lies in the input" in the_line(capsys)


@pytest.mark.slow
def test_ray_makes_the_same_units(networks, speech, tmp_path):
    pytest.importorskip("ray")
    assert fit(networks["HuBERT"], speech, tmp_path / "km") == 0
    assert apply(tmp_path / "km", speech, tmp_path / "one") == 0
    assert apply(tmp_path / "km", speech, tmp_path / "ray", "--engine", "ray", "--parts", "3", "--jobs", "1") == 0
    for file in ("units.txt", "features.json"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "ray" / file).read_bytes()
