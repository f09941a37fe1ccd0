import builtins
import importlib
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


def failures() -> list[str]:
    return [line for good, line in doctor.diagnose() if not good]


def test_nothing_is_wrong_with_the_installation_that_runs_the_tests():
    assert failures() == []
    assert main(["doctor"]) == 0


def test_every_core_module_is_named_with_its_version():
    lines = [line for _, line in doctor.diagnose()]
    for module in doctor.CORE:
        assert any(line.startswith(f"{module} ") and line.split()[1][0].isdigit() for line in lines), module


def test_core_modules_are_the_dependencies_of_the_project():
    from importlib.metadata import requires

    from packaging.requirements import Requirement

    wanted = {Requirement(line).name for line in requires("vqaudio") or [] if "extra ==" not in line}
    assert set(doctor.CORE.values()) == wanted


def test_a_missing_core_module_fails_with_its_cure_and_exit_code_1(monkeypatch, capsys):
    fail_to_import(monkeypatch, "soxr", ModuleNotFoundError("No module named 'soxr'", name="soxr"))
    assert failures() == ["soxr is not installed; run tools/install.sh, or: pip install vqaudio"]
    assert main(["doctor"]) == 1
    assert "FAIL soxr" in capsys.readouterr().out


def test_a_missing_extra_is_no_failure_but_says_what_cannot_run(monkeypatch):
    fail_to_import(monkeypatch, "pystoi", ModuleNotFoundError("No module named 'pystoi'", name="pystoi"))
    assert failures() == []
    assert any("ESTOI" in line and "vqaudio[eval]" in line for _, line in doctor.diagnose())


def test_torchaudio_for_cuda_beside_a_cpu_torch_is_explained_with_the_command_that_mends_it(monkeypatch):
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
    assert any(line.startswith("bf16 on the CPU") for line in lines) == native


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
    assert doctor._core("torch", "torch")[0] is False
