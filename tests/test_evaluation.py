import json
import math

import numpy as np
import pytest
import torch

from tests.tiny_model import save_tiny_model
from vqaudio.cli import main
from vqaudio.datadir import Phone, write_ctm, write_table
from vqaudio.errors import UserError
from vqaudio.metrics.abx import average, make_frames, speaker_errors
from vqaudio.metrics.abx_cells import make_cells
from vqaudio.metrics.evaluation import evaluate_units, figures, read_codebook
from vqaudio.model_directory import load_model
from vqaudio.units import UnitsInfo
from vqaudio.units.kmeans import KMeansUnits

RATE = 100.0
COUNTS = {"abx_comparisons_within", "abx_comparisons_across", "speaker_probe_speakers"}
OF_SPEAKERS = COUNTS | {"speaker_probe", "speaker_probe_chance", "intervals"}
OF_UNITS = {"abx_units_within", "abx_units_across", "abx_edit_within", "abx_edit_across"}
OF_CODEWORDS = {f"{name}_{side}" for name in ("abx", "abx_phone") for side in ("within", "across")}


def make(groups: int = 1, codebook_size: int = 16) -> tuple[dict, dict, dict]:
    """Units, alignment and speakers of six utterances of three speakers; half the frames are random units."""
    random = np.random.default_rng(0)
    units, alignment, speakers = {}, {}, {}
    for n in range(6):
        utt = f"s{n // 2}-{n % 2}"
        phones = random.integers(0, 3, 80)
        frames = np.repeat(phones, 4)[None].repeat(groups, axis=0)
        noise = random.integers(0, codebook_size, frames.shape)
        units[utt] = np.where(random.random(frames.shape) < 0.5, noise, frames)
        alignment[utt] = [Phone(0.005 + k * 0.04, 0.04, "ABC"[p]) for k, p in enumerate(phones)]
        speakers[utt] = f"s{n // 2}"
    return units, alignment, speakers


def write(folder, units, alignment, speakers, *, groups=1, codebook_size=16, model_hash="hash"):
    folder.mkdir()
    lines = {utt: " ".join("-".join(map(str, frame)) for frame in codes.T) for utt, codes in units.items()}
    (folder / "units.txt").write_text("".join(f"{utt} {line}\n" for utt, line in lines.items()))
    (folder / "utt2num_units").write_text("".join(f"{utt} {codes.shape[1]}\n" for utt, codes in units.items()))
    frames = sum(codes.shape[1] for codes in units.values())
    info = UnitsInfo(8000, 80, RATE, codebook_size, groups, False, model_hash, "0", len(units), frames)
    (folder / "units.json").write_text(json.dumps(vars(info)))
    write_ctm(folder / "phones.ctm", alignment)
    write_table(folder / "speakers", speakers)
    return folder


def test_figures_stand_beside_their_definitions_and_intervals():
    units, alignment, speakers = make()
    codebook = np.random.default_rng(1).standard_normal((1, 16, 4))
    plain = figures(units, alignment, frame_rate=RATE, codebook_size=16)
    assert not plain.keys() & (OF_SPEAKERS | OF_UNITS | OF_CODEWORDS)
    result = figures(units, alignment, frame_rate=RATE, codebook_size=16, speakers=speakers, codebook=codebook)
    assert result.keys() == plain.keys() | OF_SPEAKERS | OF_UNITS | OF_CODEWORDS
    lengths = {utt: codes.shape[1] for utt, codes in units.items()}
    for name, task, distance in [
        ("abx", "triphone", "angular"),
        ("abx_units", "triphone", "identical"),
        ("abx_edit", "triphone", "edit"),
        ("abx_phone", "phone", "angular"),
    ]:
        cells = make_cells(lengths, alignment, speakers, frame_rate=RATE, task=task, seed=0)
        frames = make_frames([units[utt] for utt in sorted(units)], distance, codebook)
        assert result[f"{name}_within"] == average(speaker_errors(cells, cells.within, frames))
        assert result[f"{name}_across"] == average(speaker_errors(cells, cells.across, frames))
        assert not math.isnan(result[f"{name}_across"])
    assert result["intervals"].keys() == OF_UNITS | OF_CODEWORDS | {
        "phone_purity",
        "cluster_purity",
        "pnmi",
        "mapping_accuracy",
        "prior_accuracy",
        "phone_error_rate",
        "mapped_boundary_f1",
        "mapped_r_value",
        "pnmi_with_silence",
    }
    for name, (low, high) in result["intervals"].items():
        assert low <= result[name] <= high


def test_without_a_codebook_abx_is_of_units_alone_and_one_speaker_has_no_intervals():
    units, alignment, speakers = make(groups=2)
    result = figures(units, alignment, frame_rate=RATE, codebook_size=16, speakers=speakers)
    assert result.keys() >= OF_UNITS
    assert not result.keys() & OF_CODEWORDS
    one = figures(units, alignment, frame_rate=RATE, codebook_size=16, speakers=dict.fromkeys(units, "s"))
    assert "intervals" not in one
    assert math.isnan(one["abx_units_across"])
    assert one["abx_units_within"] > 0


def test_an_utterance_without_a_speaker_is_an_error():
    units, alignment, speakers = make()
    del speakers["s1-0"]
    with pytest.raises(UserError, match="1 utterances have no speaker, such as s1-0"):
        figures(units, alignment, frame_rate=RATE, codebook_size=16, speakers=speakers)


@pytest.mark.parametrize("groups", [1, 2])
def test_the_codebook_is_the_model_s(tmp_path, groups):
    model = load_model(save_tiny_model(tmp_path / "exp", groups=groups))
    model_hash, codebook = read_codebook(tmp_path / "exp")
    assert model_hash == model.hash
    codes = torch.randint(0, 16, (1, groups, 5))
    words = np.concatenate([book[code] for book, code in zip(codebook, codes[0], strict=True)], axis=1)
    np.testing.assert_array_equal(words.T, model.model.quantizer.lookup(codes)[0].detach().numpy())


def test_a_k_means_file_is_a_model_too(tmp_path):
    book = torch.randn(16, 39)
    KMeansUnits("mfcc", 8000, 80, torch.zeros(39), torch.ones(39), book).save(tmp_path / "km.safetensors")
    model_hash, codebook = read_codebook(tmp_path / "km.safetensors")
    np.testing.assert_array_equal(codebook[0], book.numpy())
    units = write(tmp_path / "units", *make(), model_hash=model_hash)
    scores = evaluate_units(units, units / "phones.ctm", utt2spk=units / "speakers", model=tmp_path / "km.safetensors")
    assert 0 < scores["abx_across"] < 0.5


def test_units_of_another_model_are_refused(tmp_path):
    save_tiny_model(tmp_path / "exp")
    units = write(tmp_path / "units", *make())
    with pytest.raises(UserError, match="the units belong to model hash"):
        evaluate_units(units, units / "phones.ctm", model=tmp_path / "exp")


def test_the_command_prints_intervals_and_finds_the_speakers_beside_the_alignment(tmp_path, capsys):
    units = write(tmp_path / "units", *make())
    argv = ["evaluate", "units", "--units", str(units), "--alignment", str(units / "phones.ctm")]
    assert main([*argv, "--json", str(tmp_path / "a.json")]) == 0
    assert "abx_units_within" not in capsys.readouterr().out
    (units / "speakers").rename(units / "utt2spk")
    assert main([*argv, "--json", str(tmp_path / "b.json")]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("pnmi"))
    scores = json.loads((tmp_path / "b.json").read_text())
    low, high = scores["intervals"]["pnmi"]
    assert line.split() == ["pnmi", f"{scores['pnmi']:.4g}", f"[{low:.4g},", f"{high:.4g}]"]
    assert json.loads((tmp_path / "a.json").read_text()).items() <= scores.items()


SILENT = [
    "",
    "sil",
    "sp",
    "SPN",
    "spn",
    "SIL_S",
    "SIL_B",
    "SPN_S",
    "spn_I",
    "<eps>",
    "<p:>",
    "<nib>",
    "h#",
    "pau",
    "epi",
]


@pytest.mark.parametrize("label", [*SILENT, "Pause"])
def test_figures_do_not_depend_on_how_an_aligner_writes_silence(label):
    units, alignment, speakers = make()
    codebook = np.random.default_rng(1).standard_normal((1, 16, 4))

    def figures_with(name):
        renamed = {
            utt: [phone._replace(phone=name) if n % 9 == 4 else phone for n, phone in enumerate(phones)]
            for utt, phones in alignment.items()
        }
        settings = {"frame_rate": RATE, "codebook_size": 16, "speakers": speakers, "codebook": codebook}
        return figures(units, renamed, **settings)

    same = figures_with(label) == figures_with("SIL")
    assert same == (label != "Pause")


def test_other_labels_of_silence_can_be_named(tmp_path):
    units, alignment, speakers = make()
    scores = []
    for name, silence in (("SIL", []), ("Pause", ["--silence", "Pause", "--silence", "unused"])):
        renamed = {
            utt: [phone._replace(phone=name) if phone.phone == "C" else phone for phone in phones]
            for utt, phones in alignment.items()
        }
        folder = write(tmp_path / name, units, renamed, speakers)
        argv = ["evaluate", "units", "--units", str(folder), "--alignment", str(folder / "phones.ctm"), *silence]
        assert main([*argv, "--utt2spk", str(folder / "speakers"), "--json", str(tmp_path / "scores.json")]) == 0
        scores.append((tmp_path / "scores.json").read_text())
    assert scores[0] == scores[1]


def test_counts_are_printed_whole_and_large_numbers_without_an_exponent(tmp_path, capsys):
    codes = {"u": np.arange(182_450)[None]}
    folder = write(tmp_path / "units", codes, {"u": [Phone(0.0, 1824.5, "A")]}, {"u": "s"}, codebook_size=2**39)
    assert main(["evaluate", "units", "--units", str(folder), "--alignment", str(folder / "phones.ctm")]) == 0
    shown = dict(line.split() for line in capsys.readouterr().out.splitlines())
    assert (shown["frames"], shown["utterances"]) == ("182450", "1")
    assert shown["bitrate_nominal"] == "3900"
    assert shown["perplexity"] == "182450"
    assert shown["phone_purity"] == "1"
