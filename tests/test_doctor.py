import builtins
import importlib
import importlib.metadata
import subprocess
import sys
from types import SimpleNamespace

import pytest

from vqaudio import doctor
from vqaudio.cli import main


def fail_to_import(monkeypatch, name: str, error: Exception) -> None:
    """Let importing one module raise."""
    real = importlib.import_module

    def import_module(module: str, package: str | None = None) -> object:
        if module == name:
            raise error
        return real(module, package)

    monkeypatch.setattr(doctor.importlib, "import_module", import_module)


def hide(monkeypatch, name: str) -> None:
    """Let a distribution be absent."""
    real = importlib.metadata.version

    def version(distribution: str) -> str:
        if distribution == name:
            raise importlib.metadata.PackageNotFoundError(name)
        return real(distribution)

    monkeypatch.setattr(doctor.importlib.metadata, "version", version)


def require(monkeypatch, *lines: str) -> None:
    """Let the metadata of the package declare these dependencies."""
    monkeypatch.setattr(doctor.importlib.metadata, "requires", lambda name: list(lines))


def failures() -> list[str]:
    return [line for good, line in doctor.diagnose() if not good]


def test_nothing_is_wrong_with_the_installation_that_runs_the_tests():
    assert failures() == []
    assert main(["doctor"]) == 0


def test_every_required_distribution_is_listed_with_its_version():
    lines = [line for _, line in doctor.diagnose()]
    required = doctor.dependencies()[""]
    assert {"torch", "scipy", "hydra-core"} <= set(required)
    for distribution in required:
        assert f"{distribution} {importlib.metadata.version(distribution)}" in lines


def test_dependencies_are_those_that_the_metadata_declare(monkeypatch):
    require(monkeypatch, "torch>=2.5", "scikit-learn", 'PyYAML>=6 ; extra == "x-y"', "tqdm<5,>=4; extra=='x-y'")
    assert doctor.dependencies() == {"": ["torch", "scikit-learn"], "x-y": ["PyYAML", "tqdm"]}


def test_a_distribution_is_imported_by_its_own_name_for_a_module(monkeypatch):
    names = [("hydra-core", "hydra"), ("PyYAML", "yaml"), ("scikit-learn", "sklearn"), ("matplotlib", "matplotlib")]
    for distribution, module in names:
        with monkeypatch.context() as patch:
            require(patch, distribution)
            fail_to_import(patch, module, ImportError("broken"))
            cure = f"pip install --force-reinstall {distribution}"
            assert failures() == [f"{distribution} does not import (broken); {cure}"]


def test_a_missing_required_distribution_fails_with_its_cure_and_exit_code_1(monkeypatch, capsys):
    hide(monkeypatch, "scipy")
    assert failures() == ["scipy is not installed; run tools/install.sh, or: pip install vqaudio"]
    assert main(["doctor"]) == 1
    assert "FAIL scipy" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("distribution", "extra", "purpose"),
    [("pystoi", "eval", "ESTOI"), ("praatio", "eval", "TextGrid"), ("uvicorn", "listen", "`vqaudio listen serve`")],
)
def test_a_missing_part_of_an_extra_is_no_failure_but_says_what_needs_it(monkeypatch, distribution, extra, purpose):
    hide(monkeypatch, distribution)
    assert failures() == []
    (line,) = [line for _, line in doctor.diagnose() if f"not installed: {distribution} " in line]
    assert line.startswith(f"extra {extra}, ")
    assert purpose in line
    assert line.endswith(f"; pip install 'vqaudio[{extra}]'")


def test_a_part_of_an_extra_that_does_not_import_fails(monkeypatch):
    fail_to_import(monkeypatch, "uvicorn", ImportError("broken"))
    assert failures() == ["uvicorn does not import (broken); pip install --force-reinstall uvicorn"]


def test_a_source_tree_that_is_not_installed_fails_with_its_cure(monkeypatch):
    def requires(name: str) -> list[str]:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(doctor.importlib.metadata, "requires", requires)
    assert failures() == ["vqaudio is not installed; run tools/install.sh, or: pip install vqaudio"]


def test_torchaudio_for_cuda_beside_a_cpu_torch_is_explained_with_the_command_that_fixes_it(monkeypatch):
    import torch

    error = OSError("libcudart.so.13: cannot open shared object file: No such file or directory")
    fail_to_import(monkeypatch, "torchaudio", error)
    monkeypatch.setattr(torch.version, "cuda", None)
    (line,) = failures()
    assert "libcudart.so.13" in line
    assert "CPU build" in line
    assert "tools/install.sh" in line
    assert 'torchaudio/lib" && mkdir -p needs_cuda && mv *.so needs_cuda' in line


def test_torchaudio_that_fails_beside_a_cuda_torch_gets_another_cure(monkeypatch):
    import torch

    fail_to_import(monkeypatch, "torchaudio", OSError("undefined symbol"))
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    (line,) = failures()
    assert "mv *.so" not in line
    assert torch.__version__ in line


def test_an_old_python_is_named_with_its_version(monkeypatch):
    monkeypatch.setattr(doctor.sys, "version_info", (3, 9, 18))
    good, line = doctor._python()
    assert not good
    assert "3.9.18" in line


def test_a_folder_that_cannot_be_written_to_fails(tmp_path):
    good, line = doctor._writable(tmp_path / "absent")
    assert not good
    assert str(tmp_path / "absent") in line


@pytest.mark.parametrize("native", [True, False])
def test_bf16_is_reported_as_the_processor_has_it(monkeypatch, native):
    import torch

    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: native)
    lines = [line for _, line in doctor._processors()]
    assert ("the CPU has bf16 instructions: it trains in bf16 (precision: auto)" in lines) == native


def test_gpus_are_listed(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    gpu = SimpleNamespace(name="NVIDIA H200", total_memory=141 * 2**30)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: gpu)
    assert "GPU 0: NVIDIA H200, 141 GiB" in [line for _, line in doctor._processors()]


def test_importing_the_module_imports_nothing_heavy():
    code = "import sys, vqaudio.doctor; print('torch' in sys.modules, 'numpy' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["False", "False"]


def test_a_broken_torch_leaves_the_rest_of_the_report(monkeypatch):
    fail_to_import(monkeypatch, "torch", ImportError("libtorch.so: broken"))
    real = builtins.__import__

    def broken(name: str, *args: object) -> object:
        if name == "torch":
            raise ImportError("libtorch.so: broken")
        return real(name, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", broken)
    lines = list(doctor._processors())
    assert [good for good, _ in lines] == [True]
    assert doctor._core("torch", {"torch": "torch"})[0] is False


def test_a_place_without_a_folder_for_compiled_code_is_reported(monkeypatch):
    said = "compiled code is kept in /tmp/x, since neither a nor b can be written; set NUMBA_CACHE_DIR"
    monkeypatch.setattr(doctor.machine, "REPLACED", said)
    assert failures() == [said]


def test_windows_is_reported(monkeypatch):
    monkeypatch.setattr(doctor.files, "fcntl", None)
    assert failures() == [f"{sys.platform}: vqaudio runs on Linux and macOS; on Windows run it inside WSL"]


def test_a_working_folder_that_is_gone_is_reported(monkeypatch):
    def gone() -> None:
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(doctor.Path, "cwd", gone)
    assert failures() == ["the working folder is gone (No such file or directory); change to a folder of your own"]


def test_the_whisper_model_of_the_environment_is_reported_and_one_that_is_none_fails(monkeypatch, tmp_path):
    monkeypatch.delenv("VQAUDIO_WHISPER", raising=False)
    assert failures() == []
    monkeypatch.setenv("VQAUDIO_WHISPER", str(tmp_path))
    (line,) = failures()
    assert line.startswith(f"{tmp_path}: no Whisper model")
    for name in ("model.bin", "config.json", "tokenizer.json"):
        (tmp_path / name).touch()
    assert (True, f"VQAUDIO_WHISPER: {tmp_path}") in doctor.diagnose()
