"""The documentation: its tutorial runs, its commands are understood, it builds without a broken link."""

import importlib.util
import re
import shlex
import subprocess
from pathlib import Path

import numpy as np
import pytest
from test_readme import blocks, check_command, commands
from tiny_model import save_tiny_model

from vqaudio import audio
from vqaudio.cli import main

ROOT = Path(__file__).resolve().parent.parent
PAGES = {
    str(page.relative_to(ROOT)): page.read_text(encoding="utf-8") for page in sorted((ROOT / "docs").rglob("*.md"))
}


def code_of(page: str) -> list[tuple[str, str]]:
    """The Python and bash blocks of a page, in order."""
    return re.findall(r"^```(python|bash)\n(.*?)^```$", page, flags=re.MULTILINE | re.DOTALL)


def test_the_tutorial_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("vqaudio.released.FOLDER", save_tiny_model(tmp_path / "model"))
    rng = np.random.default_rng(0)
    for name in ("one.wav", "two.wav"):
        audio.write(tmp_path / name, 0.1 * rng.standard_normal(8000).astype(np.float32), 8000)
    namespace: dict[str, object] = {}
    for number, (language, block) in enumerate(code_of(PAGES["docs/tutorial.md"])):
        if language == "python":
            exec(compile(block, f"docs/tutorial.md, block {number + 1}", "exec"), namespace)
            continue
        for line in commands(f"```bash\n{block}```\n"):
            program, *arguments = shlex.split(line)
            assert program == "vqaudio"
            assert main(arguments) == 0, f"{line}: {capsys.readouterr().err}"
    assert len(list((tmp_path / "sampled_wavs").glob("*.wav"))) == 2


@pytest.mark.parametrize(("page", "line"), [(name, line) for name, page in PAGES.items() for line in commands(page)])
def test_command_of_the_documentation_is_understood(page, line, capsys):
    try:
        check_command(line, ROOT)
    except SystemExit as left:
        if left.code != 0:  # a --help that is shown
            pytest.fail(f"{page}: {line}: {capsys.readouterr().err}")


@pytest.mark.parametrize("page", PAGES)
def test_python_of_the_documentation_compiles(page):
    for number, block in enumerate(blocks(PAGES[page], "python")):
        compile(block, f"{page}, block {number + 1}", "exec")


@pytest.mark.slow
def test_the_documentation_builds_without_a_broken_link(tmp_path):
    if not all(importlib.util.find_spec(name) for name in ("mkdocs", "material", "mkdocstrings")):
        pytest.skip("the extra docs is not installed")
    done = subprocess.run([ROOT / "tools/docs.sh", tmp_path / "site"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    page = (tmp_path / "site/api/units/index.html").read_text(encoding="utf-8")
    assert 'id="vqaudio.units.read_units"' in page
    assert "164 × real time" in (tmp_path / "site/how-to/cluster/index.html").read_text(encoding="utf-8")


def test_documentation_is_not_written_over_files_of_others(tmp_path):
    (tmp_path / "notes").write_text("mine")
    done = subprocess.run([ROOT / "tools/docs.sh", tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert [path.name for path in tmp_path.iterdir()] == ["notes"]
