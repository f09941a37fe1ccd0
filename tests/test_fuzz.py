"""Whatever the bytes of a file, its reader returns, or refuses it in one line; `tools/fuzz.py` tries for longer."""

from pathlib import Path

import pytest
import torch
from fuzz_inputs import CASES, READERS, Bench, require_line
from hypothesis import HealthCheck, given, settings
from safetensors.torch import save_file

from vqaudio.errors import UserError

DEEP = b"[" * 100_000
ONE_KEY = b'{"type": %s, "seed": 1, "sample_rate": %s, "systems": [], "trials": {}, "stimuli": {}}'


@pytest.mark.parametrize("name", READERS)
def test_a_mutated_file_is_read_or_refused_in_one_line(name: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    bench = Bench(READERS[name], tmp_path / "bench")

    @settings(
        max_examples=bench.reader.examples,
        derandomize=True,
        database=None,
        deadline=5000,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(case=CASES)
    def attempt(case) -> None:
        bench.try_case(case)

    attempt()


@pytest.mark.parametrize(
    ("name", "file", "content"),
    [
        ("key", "test_mushra/private/key.json", DEEP),
        ("key", "test_mushra/private/key.json", ONE_KEY % (b"[]", b"16000")),
        ("key", "test_mushra/private/key.json", ONE_KEY % (b'"acr"', b"null")),
        ("run", "metrics.jsonl", DEEP + b'\n{"step": 1}\n'),
        ("run", "metrics.jsonl", b'{"step": 1e999}\n{"step": 1}\n'),
        ("config", "config.yaml", b"model: " + DEEP),
        ("config", "config.yaml", b"model: 1\n"),
        ("units", "units/units.txt", b"a\x1b[31m 1\n"),
    ],
)
def test_a_file_that_once_broke_its_reader_is_refused(name: str, file: str, content: bytes, tmp_path: Path) -> None:
    bench = Bench(READERS[name], tmp_path)
    (bench.folder / file).write_bytes(content)
    with pytest.raises(UserError) as refusal:
        bench.reader.read(bench.folder)
    require_line(str(refusal.value))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"sample_rate: 8000", b"sample_rate: 0"),
        (b"sample_rate: 8000", b"sample_rate: null"),
        (b"sample_rate: 8000", b"sample_rate: ${nowhere}"),
        (b"level_db: -26.0", b"level_db: loud"),
        (b"pre_emphasis: 0.85", b"pre_emphasis: .nan"),
        (b"  pre_emphasis: 0.85", b""),
        (b"groups: 1", b"groups: 0"),
        (b"cycle: 3", b"cycle: 0"),
        (b"codebook_size: 16", b"codebook_size: 20000000000"),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused_when_the_model_is_loaded(
    old: bytes, new: bytes, tmp_path: Path
) -> None:
    bench = Bench(READERS["config"], tmp_path)
    content = (bench.folder / "config.yaml").read_bytes()
    assert old in content
    (bench.folder / "config.yaml").write_bytes(content.replace(old, new))
    with pytest.raises(UserError, match=r"config\.yaml"):
        bench.reader.read(bench.folder)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("scores.json", DEEP),
        ("scores.json", b'{"units": {"test_seen": {"pnmi": %s}}}' % (b"9" * 400)),
        ("metrics.jsonl", b'{"step": 1, "seconds": null}\n'),
    ],
)
def test_a_value_that_is_no_figure_is_left_out_of_the_report(file: str, content: bytes, tmp_path: Path) -> None:
    bench = Bench(READERS["report-model"], tmp_path)
    (bench.folder / file).write_bytes(content)
    assert bench.reader.read(bench.folder) > 1000


@pytest.mark.parametrize(
    ("about", "mean"),
    [
        (DEEP.decode(), torch.zeros(3)),
        ('{"features": "mfcc", "sample_rate": 16000, "hop_length": 160}', torch.zeros(3, dtype=torch.int64)),
        ('{"features": "mfcc", "sample_rate": 16000, "hop_length": 160}', torch.tensor([0.0, torch.nan, 0.0])),
    ],
)
def test_a_k_means_model_of_other_contents_is_refused(about: str, mean: torch.Tensor, tmp_path: Path) -> None:
    tensors = {"mean": mean, "std": torch.ones(3), "codebook": torch.ones(2, 3)}
    save_file(tensors, tmp_path / "k.safetensors", {"vqaudio_kmeans": about})
    with pytest.raises(UserError, match="not a k-means model"):
        READERS["kmeans"].read(tmp_path)
