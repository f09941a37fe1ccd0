"""Runs the README's Python and checks its commands; CONTRIBUTING.md states the convention."""

import ast
import re
import shlex
import subprocess
from pathlib import Path

import numpy as np
import pytest
from tiny_model import save_tiny_model

from vqaudio import audio
from vqaudio.cli import build_parser
from vqaudio.training.app import compose

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def commands(text: str) -> list[str]:
    """The commands of all bash blocks: comments dropped, continued lines joined, Kaldi's `$ ` prompts dropped."""
    joined = "\n".join(blocks(text, "bash")).replace("\\\n", " ")
    lines = [" ".join(shlex.split(line, comments=True, posix=False)) for line in joined.splitlines()]
    return [line.removeprefix("$ ") for line in lines if line]


def strings(tree: ast.AST) -> list[str]:
    return [n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)]


def loaded_models(tree: ast.AST) -> list[str]:
    """The paths given to `vqaudio.load`, `vqaudio.encode` and `vqaudio.decode`."""
    calls = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute)]
    calls = [n for n in calls if ast.unparse(n.func) in ("vqaudio.load", "vqaudio.encode", "vqaudio.decode")]
    return [first.value for n in calls for first in n.args[:1] if isinstance(first, ast.Constant)]


def check_command(line: str, root: Path) -> None:
    """Fail when a command of ours would not be understood; other programs' commands are not ours to check."""
    program, *arguments = shlex.split(line)
    if Path(program).name == "vqaudio":
        args = build_parser().parse_args(arguments)
        if arguments[0] == "train" and not any(text.startswith("-") for text in args.overrides):
            # Each training of a sweep has the first of several values here.
            compose([text.partition(",")[0] if args.multirun else text for text in args.overrides])
    elif program.startswith(("tools/", "recipes/")):
        script = root / program
        assert script.is_file(), f"{line}: there is no {program}"
        usage = subprocess.run([script, "--help"], capture_output=True, text=True, check=True).stdout
        for option in (text for text in arguments if text.startswith("--")):
            assert re.search(rf"(?<!\S)\(?\[?{re.escape(option)}\b", usage), f"{line}: {program} has no {option}"


def test_python_of_the_readme_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = blocks(README, "python")
    rng = np.random.default_rng(0)
    for tree in map(ast.parse, code):
        for name in loaded_models(tree):
            save_tiny_model(tmp_path / name)
        for name in strings(tree):
            if name.endswith((".wav", ".flac")):
                (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
                audio.write(tmp_path / name, 0.1 * rng.standard_normal(8000).astype(np.float32), 16000)
    namespace: dict[str, object] = {}
    for number, block in enumerate(code):
        exec(compile(block, f"README.md, python block {number + 1}", "exec"), namespace)


@pytest.mark.parametrize("line", commands(README))
def test_command_of_the_readme_is_understood(line, capsys):
    try:
        check_command(line, ROOT)
    except SystemExit:
        pytest.fail(f"{line}: {capsys.readouterr().err}")


@pytest.mark.parametrize(
    "line",
    [
        "vqaudio extract --model exp/x --wrong 1 --out units",
        ".venv/bin/vqaudio frobnicate",
        "tools/no_such_script.sh",
        "tools/test.sh --no-such-option",
        "vqaudio train modle=tiny",
    ],
)
def test_a_wrong_command_would_be_noticed(line, capsys):
    with pytest.raises((SystemExit, AssertionError, ValueError)):
        check_command(line, ROOT)


def test_commands_are_read_over_continued_lines_without_comments_and_prompts():
    text = "```bash\n# first\n$ vqaudio doctor   # why\nvqaudio extract \\\n    --out 'a b'\n```\n```text\nno\n```\n"
    assert commands(text) == ["vqaudio doctor", "vqaudio extract --out 'a b'"]
