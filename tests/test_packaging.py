"""What ships and what it needs: pyproject.toml, constraints.txt, and the files beside them."""

import ast
import re
import subprocess
import sys
from fnmatch import fnmatch
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

import vqaudio
from vqaudio.doctor import EXTRAS

tomllib = pytest.importorskip("tomllib", reason="Python 3.10 has no reader of pyproject.toml")
ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SETUPTOOLS = PROJECT["tool"]["setuptools"]
GROUPS = [
    (model.stem, quantizer.stem, trainer.stem)
    for model in sorted((ROOT / "conf/model").glob("*.yaml"))
    for quantizer in sorted((ROOT / "conf/quantizer").glob("*.yaml"))
    for trainer in sorted((ROOT / "conf/trainer").glob("*.yaml"))
]


def constraints() -> dict[str, list[Requirement]]:
    pins: dict[str, list[Requirement]] = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        if not line.startswith("#"):
            pin = Requirement(line)
            pins.setdefault(canonical(pin.name), []).append(pin)
    return pins


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_version_of_the_package_is_that_of_the_project():
    assert vqaudio.__version__ == PROJECT["project"]["version"]


def test_the_citation_names_the_version_and_the_licence_of_the_project():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == PROJECT["project"]["version"]
    assert citation["license"] == PROJECT["project"]["license"]
    assert PROJECT["project"]["description"].lower() in citation["title"].lower()


def test_hooks_run_programs_that_the_checks_run_too():
    (local,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    script = (ROOT / "tools/test.sh").read_text()
    for hook in local["hooks"]:
        assert Path(hook["entry"].split()[0]).name in script


WORKFLOWS = {path.name: yaml.safe_load(path.read_text()) for path in sorted((ROOT / ".github/workflows").glob("*.yml"))}


def test_workflows_pin_actions_by_version_and_may_write_nothing_but_what_they_publish():
    assert set(WORKFLOWS) == {"ci.yml", "docs.yml", "release.yml"}
    for workflow in WORKFLOWS.values():
        assert workflow["permissions"] == {"contents": "read"}
        for name, job in workflow["jobs"].items():
            assert name == "publish" or "permissions" not in job
            assert set(job.get("permissions", {})) <= {"id-token", "pages"}
            assert "timeout-minutes" in job
            for step in job["steps"]:
                assert re.fullmatch(r"[\w-]+/[\w-]+@(v\d+|release/v\d+)", step.get("uses", "a/b@v1"))
    text = "".join(path.read_text() for path in (ROOT / ".github/workflows").glob("*.yml"))
    assert "secrets." not in text
    assert "${{ github.event" not in text  # what a stranger wrote never reaches a shell


def test_workflows_run_scripts_that_exist():
    for workflow in WORKFLOWS.values():
        for step in (step for job in workflow["jobs"].values() for step in job["steps"]):
            for script in re.findall(r"tools/\w+\.sh", step.get("run", "")):
                assert (ROOT / script).is_file()


def test_every_python_that_is_tested_is_a_supported_one_and_the_oldest_is_among_them():
    versions = [
        job["strategy"]["matrix"]["python"]
        for workflow in WORKFLOWS.values()
        for job in workflow["jobs"].values()
        if "strategy" in job
    ]
    assert versions == [["3.10", "3.11", "3.12", "3.13"]] * 2
    assert PROJECT["project"]["requires-python"] == f">={versions[0][0]}"


def test_version_of_the_project_has_a_section_in_the_changelog():
    assert f"## [{vqaudio.__version__}]" in (ROOT / "CHANGELOG.md").read_text()


def test_every_package_folder_ships():
    folders = {".".join(path.parent.relative_to(ROOT).parts) for path in (ROOT / "vqaudio").rglob("__init__.py")}
    assert set(SETUPTOOLS["packages"]) == folders | {"vqaudio.conf"}


def test_every_data_file_ships():
    for package in SETUPTOOLS["packages"]:
        folder = ROOT / SETUPTOOLS["package-dir"].get(package, package.replace(".", "/"))
        patterns = SETUPTOOLS["package-data"].get(package, [])
        for path in folder.rglob("*"):
            inner = path.relative_to(folder)
            of_this_package = not any((folder / p / "__init__.py").exists() for p in inner.parents if p != Path())
            if path.is_file() and of_this_package and path.suffix != ".py" and "__pycache__" not in inner.parts:
                assert any(fnmatch(str(inner), pattern.removeprefix("**/")) for pattern in patterns), path


def test_every_dependency_is_pinned_within_its_bounds():
    extras = PROJECT["project"]["optional-dependencies"].values()
    pins = constraints()
    for text in [*PROJECT["project"]["dependencies"], *(line for extra in extras for line in extra)]:
        wanted = Requirement(text)
        for pin in pins[canonical(wanted.name)]:
            (specifier,) = pin.specifier
            assert specifier.operator == "=="
            assert Version(specifier.version) in wanted.specifier, pin


def distributions_of_imports(folder: str) -> dict[str, str]:
    """The distributions that the Python files of a folder import, lazily too, each with one of its importers."""
    places = ("vqaudio", "conf", "recipes", "tests", "tools")
    ours = {*places, *(path.stem for place in places for path in (ROOT / place).rglob("*.py"))}
    owners = packages_distributions()
    found: dict[str, str] = {}
    for path in sorted((ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module is not None:
                names = [node.module]
            for name in names:
                top = name.partition(".")[0]
                if name == "torch.utils.tensorboard":  # a part of torch that needs it
                    found["tensorboard"] = str(path)
                if top not in sys.stdlib_module_names and top not in ours:
                    found[canonical(owners.get(top, [top])[0])] = str(path)
    return found


@pytest.mark.parametrize(
    ("folder", "extras"),
    [
        ("vqaudio", ["eval", "judges", "export", "listen", "ray", "parquet", "lhotse", "hub", "ssl"]),
        ("recipes", ["eval", "listen", "align"]),
        ("tools/bench", ["eval", "listen", "export", "bench"]),
        ("tests", ["eval", "listen", "export", "ray", "parquet", "lhotse", "hub", "ssl", "dev"]),
    ],
)
def test_every_import_is_declared(folder, extras):
    declared = [*PROJECT["project"]["dependencies"]]
    for extra in extras:
        declared += PROJECT["project"]["optional-dependencies"][extra]
    missing = distributions_of_imports(folder).keys() - {canonical(Requirement(line).name) for line in declared}
    assert not missing, {name: distributions_of_imports(folder)[name] for name in missing}


def test_every_required_dependency_is_imported():
    required = {canonical(Requirement(line).name) for line in PROJECT["project"]["dependencies"]}
    assert required <= distributions_of_imports("vqaudio").keys()


def test_doctor_knows_what_each_extra_is_for():
    assert set(EXTRAS) == set(PROJECT["project"]["optional-dependencies"])


def test_no_dependency_of_a_dependency_is_left_unpinned():
    from importlib.metadata import PackageNotFoundError, requires

    pins = constraints()
    for name in pins:
        try:
            lines = requires(name) or []
        except PackageNotFoundError:
            continue  # e.g. the pins of an extra that is not installed
        for requirement in map(Requirement, lines):
            # torch itself pins what its CUDA builds need; setuptools is a part of Python's build tools
            elsewhere = canonical(requirement.name).startswith(("nvidia-", "cuda-", "triton", "setuptools"))
            if not elsewhere and (requirement.marker is None or requirement.marker.evaluate({"extra": ""})):
                assert canonical(requirement.name) in pins, f"{name} needs {requirement}"


@pytest.mark.parametrize("python", ["3.10", "3.11", "3.12", "3.13"])
def test_every_pin_that_only_some_versions_of_python_have_is_unique_for_each(python):
    for name, pins in constraints().items():
        held = [pin for pin in pins if pin.marker is None or pin.marker.evaluate({"python_version": python})]
        assert len(held) <= 1, f"{name} has two pins for Python {python}"


def test_constraints_name_no_path_of_a_machine():
    assert not re.search(r"file:|@|/", (ROOT / "constraints.txt").read_text().partition("absl")[2])


@pytest.mark.parametrize(("model", "quantizer", "trainer"), GROUPS)
def test_every_combination_of_the_shipped_configuration_builds_a_model(model, quantizer, trainer):
    from vqaudio.model import build_model
    from vqaudio.training.app import compose

    cfg = compose([f"model={model}", f"quantizer={quantizer}", f"trainer={trainer}"])
    built = build_model(cfg, speakers=3)
    assert built.encoder.hop_length == {"tiny": 160, "base": 320, "paper": 64}[model]


@pytest.mark.parametrize("override", ["modle=tiny", "model=huge", "trainer.max_stpes=3", "lr=1"])
def test_a_misspelt_override_is_refused_in_one_line(override):
    result = subprocess.run(
        [Path(sys.executable).parent / "vqaudio", "train", override],
        capture_output=True,
        text=True,
    )
    assert result.returncode == 2
    assert len(result.stderr.strip().splitlines()) == 1


def test_the_command_line_starts_without_heavy_imports():
    heavy = ("torch", "numpy", "scipy", "librosa", "numba", "matplotlib", "hydra", "soundfile")
    code = f"import sys, vqaudio.cli; print([name for name in {heavy!r} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_no_file_names_a_folder_of_one_machine():
    places = ("vqaudio", "conf", "recipes", "tests", "tools")
    files = [path for place in places for path in (ROOT / place).rglob("*") if path.suffix in (".py", ".sh", ".yaml")]
    local = re.compile(r"""/(work|home)/|/ ["']shared["']|\.\./shared""")
    named = [path for path in [*files, *ROOT.glob("*.md")] if local.search(path.read_text(encoding="utf-8"))]
    assert named == []


def test_the_licence_is_the_one_that_the_project_declares():
    assert PROJECT["project"]["license"] == "Apache-2.0"
    text = (ROOT / "LICENSE").read_text()
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text


def test_installing_refuses_an_old_python_in_one_line(tmp_path):
    old = tmp_path / "python3"
    old.write_text('#!/bin/sh\ncase "$1" in --version) echo Python 3.8.1 ;; *) exit 1 ;; esac\n')
    old.chmod(0o755)
    result = subprocess.run(
        [ROOT / "tools/install.sh"], env={"PYTHON": str(old), "PATH": "/usr/bin:/bin"}, capture_output=True, text=True
    )
    assert result.returncode == 1
    assert "3.8.1" in result.stderr
    assert "3.10" in result.stderr
    assert len(result.stderr.splitlines()) == 1
