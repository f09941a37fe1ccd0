"""The shell of the recipe: options, stages, stamps, failures, odd paths.

Most tests replace `.venv/bin/vqaudio` and `python` by a stand-in that writes down how it was called and makes the files
that the real commands would make; those that run the real ones say so.
"""

import functools
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from vqaudio import datadir, model_directory
from vqaudio.outputs import MARK, claim_folder
from vqaudio.training.app import compose

ROOT = Path(__file__).resolve().parent.parent
STAND_IN = r"""#!/usr/bin/env bash
# Called as vqaudio or python; the name of a script stands for the command.
set -eu
folder=$(dirname "$0")
if [ "$(basename "$0")" = python ]; then
  script=$(basename "$1" .py); shift; set -- "$script" "$@"
  if [ "$script" = stage_inputs ]; then
    quantizer=$(printf '%s\n' "$@" | sed -n 's/^quantizer=//p')
    config_sum=$(echo "$@" | sha256sum | cut -c 1-64)
    echo "16000 ${quantizer:-kmeans} $config_sum $(cat "$folder/package" 2>/dev/null || echo 0.1)"
    exit
  fi
  if [ "$script" = list_files ]; then cat "$2"/* 2>/dev/null | sha256sum; exit; fi
fi
printf '%s|' "$@" >>"$folder/calls"; echo >>"$folder/calls"
if [ -e "$folder/fail" ] && [ "$(cat "$folder/fail")" = "$1" ]; then
  for n in $(seq 30); do echo "message $n"; done
  exit 3
fi
if [ -e "$folder/hang" ] && [ "$(cat "$folder/hang")" = "$1" ]; then
  trap 'echo saved >"$folder/saved"; exit 1' TERM
  touch "$folder/hanging"
  while :; do sleep 0.05; done
fi
last=${*: -1}
value() { while [ "$1" != "$2" ]; do set -- "$1" "${@:3}"; done; echo "$3"; }
make() { for file in "$@"; do mkdir -p "$(dirname "$file")"; echo made >"$file"; done; }
case $1 in
  data_prep) make "$last/utt2spk" ;;
  make_splits) for name in train dev test_seen test_unseen; do make "$last/$name/utt2spk"; done ;;
  format_data)
    for name in train dev test_seen test_unseen; do make "$last/$name/"{utt2spk,wav.scp,phones.ctm,text}; done ;;
  train) exp=${last#exp_dir=\'} exp=${exp%\'}; make "$exp/model.safetensors"; mkdir -p "$exp/state" ;;
  extract) make "$(value --out "$@")/units.json" ;;
  swap_speakers) if [ -e "$folder/one speaker" ]; then rm -f "$last"; else make "$last"; fi ;;
  decode) make "$(value --out "$@")/wav.scp" ;;
  collect_scores) make "$2/scores.json" ;;
  report) make "$2/report.html" ;;
  results_row) make "$2/RESULTS.md" ;;
  listening_set) make "$3/"{utt2spk,wav.scp} ;;
  listen) make "$(value --out "$@")/private/key.json" ;;
esac
"""


class Recipe:
    """A copy of the recipe in its own folder, with spaces in its path."""

    def __init__(self, root: Path) -> None:
        self.root, self.folder = root, root / "recipes" / "vctk"
        ignore = shutil.ignore_patterns("data", "exp", "downloads", "corpus", "__pycache__")
        shutil.copytree(ROOT / "recipes" / "vctk", self.folder, ignore=ignore)
        (self.folder / "corpus").symlink_to(ROOT / "recipes" / "vctk" / "corpus")
        (root / "tools").mkdir()
        shutil.copy(ROOT / "tools" / "parse_options.sh", root / "tools")
        shutil.copytree(ROOT / "conf", root / "conf", ignore=ignore)
        (root / "vqaudio").symlink_to(ROOT / "vqaudio")
        self.bin = root / ".venv" / "bin"
        self.bin.mkdir(parents=True)
        for name in ("vqaudio", "python"):
            (self.bin / name).write_text(STAND_IN)
            (self.bin / name).chmod(0o755)
        self.corpus = root / "my corpus"
        self.corpus.mkdir()
        (self.corpus / "file").write_text("one")

    def run(self, *options: str, code: int = 0, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Run run.sh, forget earlier calls, and check its exit code."""
        (self.bin / "calls").unlink(missing_ok=True)
        done = subprocess.run(
            [str(self.folder / "run.sh"), *options],
            cwd=self.root,
            env=os.environ | {"VQAUDIO_WHISPER": ""} | (env or {}),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done

    def calls(self) -> list[list[str]]:
        """Return the commands of the last run."""
        path = self.bin / "calls"
        return [line.split("|")[:-1] for line in path.read_text().splitlines()] if path.exists() else []

    def verbs(self) -> list[str]:
        """Return the names of the commands of the last run, each once."""
        return list(dict.fromkeys(call[0] for call in self.calls()))


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    return Recipe(tmp_path / "a root")


EVERYTHING = [
    *("data_prep", "make_splits", "format_data", "data", "train", "extract", "swap_speakers", "decode"),
    *("evaluate", "score_baselines", "collect_scores", "report", "results_row", "listening_set", "listen"),
]


def test_help_names_every_option_and_needs_no_environment(recipe: Recipe) -> None:
    shutil.rmtree(recipe.root / ".venv")
    text = recipe.run("--help").stdout
    listed = (recipe.folder / "run.sh").read_text().split("options=(")[1].split(")")[0].split()
    assert len(listed) > 10
    for name in listed:
        assert f"--{name.replace('_', '-')} " in text


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity")
def test_the_number_of_jobs_is_the_number_of_cores_that_the_process_may_use(recipe: Recipe) -> None:
    one = functools.partial(os.sched_setaffinity, 0, {min(os.sched_getaffinity(0))})
    done = subprocess.run([recipe.folder / "run.sh", "--help"], preexec_fn=one, capture_output=True, text=True)
    assert "available cores, 1)" in done.stdout
    threads = os.environ | {"OMP_NUM_THREADS": "1", "OMP_THREAD_LIMIT": "1"}  # threads of a job, not jobs
    done = subprocess.run([recipe.folder / "run.sh", "--help"], env=threads, capture_output=True, text=True)
    assert f"available cores, {len(os.sched_getaffinity(0))})" in done.stdout


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "give one of --mini true"),
        (["--mini", "true", "--vctk-root", "."], "give one of"),
        (["--mini"], "--mini needs a value"),
        (["--tag", "--mini", "true"], "--tag needs a value"),
        (["--mini", "yes"], "--mini takes true or false, not: yes"),
        (["--mini=true"], "not --name=value"),
        (["--speed", "3"], "unknown option: --speed"),
        (["--here", "/tmp"], "unknown option: --here"),
        (["mini"], "unexpected argument: mini"),
        (["--mini", "true", "--stage", "10"], "from -1 to 9"),
        (["--mini", "true", "--nj", "0"], "at least 1"),
        (["--mini", "true", "--quantizer", "pq"], "--quantizer is pq; it must be one of gumbel kmeans"),
        (["--mini", "true", "--model", "../x"], "--model is ../x; it must be one of"),
        (["--mini", "true", "--init", "default", "--model", "tiny"], "--init goes without --model"),
        (["--mini", "true", "--init", "default", "--quantizer", "gumbel"], "--init goes without --model"),
        (["--mini", "true", "--init", "absent"], "absent: no such model"),
        (["--mini", "true", "--tag", "../../x"], "must not hold a slash"),
        (["--vctk-root", "absent"], "absent: no such folder"),
        (["--mini", "true", "--alignment", "absent.ctm"], "absent.ctm: no such file"),
    ],
)
def test_a_wrong_option_is_one_line_and_exit_code_2(recipe: Recipe, options: list[str], message: str) -> None:
    done = recipe.run(*options, code=2)
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert not recipe.calls()
    assert not (recipe.folder / "data").exists()


def test_a_run_from_a_trained_model_has_its_own_tag_and_no_other_shape(recipe: Recipe) -> None:
    model = recipe.root / "it's my $model"
    model.mkdir()
    (model / "model.safetensors").touch()
    recipe.run("--mini", "true", "--init", str(model), "--stop-stage", "3")
    train = next(call for call in recipe.calls() if call[0] == "train")
    exp = recipe.folder / "exp" / "mini_from_it's my $model"
    cfg = compose(train[1:])
    assert (cfg.init, cfg.exp_dir) == (str(model), str(exp))
    assert not any(word.startswith(("model=", "quantizer=")) for word in train)


def test_quotes_and_commands_in_values_stay_text(recipe: Recipe) -> None:
    tag = "a '$(touch pwned)' \"`touch pwned`\" *"
    recipe.run("--mini", "true", "--tag", tag, "--train-args", "seed=1  name='$(touch pwned)' *", "--stop-stage", "3")
    assert (recipe.folder / "exp" / tag / "log" / "train.log").is_file()
    train = next(call for call in recipe.calls() if call[0] == "train")
    assert {"seed=1", "name='$(touch", "pwned)'", "*"} <= set(train)
    assert not list(recipe.root.rglob("pwned"))


def test_all_stages_run_in_order_and_are_skipped_the_second_time(recipe: Recipe) -> None:
    recipe.run("--mini", "true")
    assert recipe.verbs() == EVERYTHING
    done = recipe.run("--mini", "true")
    assert recipe.verbs() == []
    assert done.stdout.count("finished before, skipped") == 10


def test_everything_is_written_beside_the_script(recipe: Recipe, tmp_path: Path) -> None:
    before = {path.relative_to(recipe.root) for path in recipe.root.rglob("*")}
    recipe.run("--mini", "true")
    new = {path.relative_to(recipe.root) for path in recipe.root.rglob("*")} - before
    places = {str(Path(*path.parts[:3])) for path in new} - {".venv/bin/calls"}
    assert places == {f"recipes/vctk/{name}" for name in ("data", "exp")}
    assert [path.name for path in tmp_path.iterdir()] == ["a root"]


def test_a_changed_training_option_runs_training_and_what_follows(recipe: Recipe) -> None:
    recipe.run("--mini", "true")
    done = recipe.run("--mini", "true", "--train-args", "seed=1")
    assert recipe.verbs() == EVERYTHING[EVERYTHING.index("train") :]
    assert "the earlier training is in exp/mini_tiny_kmeans/before-1" in done.stdout
    assert (recipe.folder / "exp/mini_tiny_kmeans/before-1/model.safetensors").is_file()


def test_another_quantizer_has_a_run_of_its_own_on_the_same_data(recipe: Recipe) -> None:
    recipe.run("--mini", "true")
    recipe.run("--mini", "true", "--quantizer", "gumbel")
    assert recipe.verbs() == EVERYTHING[EVERYTHING.index("train") :]
    assert sorted(path.name for path in (recipe.folder / "exp").iterdir()) == ["mini_tiny_gumbel", "mini_tiny_kmeans"]


def test_a_changed_script_runs_its_stage_and_the_data_stages_after_it(recipe: Recipe) -> None:
    recipe.run("--mini", "true")
    with (recipe.folder / "local" / "make_splits.py").open("a") as file:
        file.write("# changed\n")
    recipe.run("--mini", "true")
    assert recipe.verbs() == ["make_splits", "format_data", "data"]


def test_another_package_runs_all_stages_but_the_training(recipe: Recipe) -> None:
    recipe.run("--mini", "true")
    (recipe.bin / "package").write_text("0.2")
    recipe.run("--mini", "true")
    assert recipe.verbs() == [verb for verb in EVERYTHING if verb != "train"]


def test_the_sum_of_the_package_follows_every_file_that_is_installed(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "recipes" / "vctk" / "local")
    from stage_inputs import package_sum

    package = tmp_path / "package"
    (package / "__pycache__").mkdir(parents=True)
    (package / "a.py").write_text("1")
    before = package_sum(package)
    (package / "__pycache__" / "a.pyc").write_text("compiled")
    assert package_sum(package) == before
    (package / "a.py").write_text("2")
    changed = package_sum(package)
    (package / "a.py").rename(package / "b.py")
    assert len({before, changed, package_sum(package)}) == 3


def test_changed_files_of_the_corpus_run_everything(recipe: Recipe) -> None:
    recipe.run("--vctk-root", str(recipe.corpus))
    assert recipe.verbs() == EVERYTHING
    (recipe.corpus / "file").write_text("two")
    (recipe.bin / "python").write_text((recipe.bin / "python").read_text().replace("echo made", "echo anew"))
    recipe.run("--vctk-root", str(recipe.corpus))
    assert recipe.verbs() == EVERYTHING


def test_data_that_come_out_the_same_do_not_train_again(recipe: Recipe) -> None:
    recipe.run("--mini", "true")
    with (recipe.folder / "local" / "format_data.py").open("a") as file:
        file.write("# changed\n")
    recipe.run("--mini", "true")
    assert recipe.verbs() == ["format_data", "data"]


def test_a_lost_output_is_made_again(recipe: Recipe) -> None:
    recipe.run("--mini", "true")
    (recipe.folder / "exp/mini_tiny_kmeans/report.html").unlink()
    recipe.run("--mini", "true")
    assert recipe.verbs() == ["report"]


def test_a_retrained_model_gets_new_units(recipe: Recipe) -> None:
    recipe.run("--mini", "true")
    (recipe.folder / "exp/mini_tiny_kmeans/model.safetensors").write_text("better")
    recipe.run("--mini", "true")
    assert recipe.verbs() == EVERYTHING[EVERYTHING.index("extract") :]


def test_stage_and_stop_stage_bound_the_work(recipe: Recipe) -> None:
    recipe.run("--mini", "true", "--stop-stage", "1")
    assert recipe.verbs() == ["data_prep", "make_splits"]
    recipe.run("--mini", "true", "--stage", "2", "--stop-stage", "2")
    assert recipe.verbs() == ["format_data", "data"]


def test_a_stage_without_the_one_before_says_which_is_missing(recipe: Recipe) -> None:
    recipe.run("--mini", "true", "--stop-stage", "0")
    done = recipe.run("--mini", "true", "--stage", "3", code=1)
    assert "stage 3 (train" in done.stderr
    assert "needs stage 2; run with --stage 2" in done.stderr


@pytest.mark.parametrize(
    ("verb", "stage"), [("data_prep", 0), ("make_splits", 1), ("data", 2), ("train", 3), ("decode", 5)]
)
def test_a_failing_stage_names_its_log_and_prints_its_last_20_lines(recipe: Recipe, verb: str, stage: int) -> None:
    (recipe.bin / "fail").write_text(verb)
    done = recipe.run("--mini", "true", code=1)
    named = next(line for line in done.stderr.splitlines() if line.startswith("failed: "))
    log = Path(named.removeprefix("failed: "))
    assert log.read_text().splitlines()[-2:] == ["message 30", "# Ended (code 3)"]
    assert "    message 12\n" in done.stderr
    assert "message 11\n" not in done.stderr
    assert f"run.sh: stage {stage} (" in done.stderr
    assert recipe.verbs()[-1] == verb


def test_after_a_failure_the_same_command_resumes_there(recipe: Recipe) -> None:
    (recipe.bin / "fail").write_text("extract")
    recipe.run("--mini", "true", code=1)
    (recipe.bin / "fail").unlink()
    recipe.run("--mini", "true")
    assert recipe.verbs() == EVERYTHING[EVERYTHING.index("extract") :]


def test_an_interrupted_training_is_resumed_and_not_set_aside(recipe: Recipe) -> None:
    (recipe.bin / "fail").write_text("train")
    recipe.run("--mini", "true", code=1)
    state = recipe.folder / "exp/mini_tiny_kmeans/state/step-500"
    state.mkdir(parents=True)
    (recipe.bin / "fail").unlink()
    recipe.run("--mini", "true", "--stop-stage", "3")
    assert state.is_dir()
    assert not list((recipe.folder / "exp/mini_tiny_kmeans").glob("before-*"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_training_save_before_the_recipe_ends(recipe: Recipe, number: int) -> None:
    (recipe.bin / "hang").write_text("train")
    command = [str(recipe.folder / "run.sh"), "--mini", "true"]
    # A job in the background inherits an ignored SIGINT, which a shell cannot trap any more.
    listen = functools.partial(signal.signal, number, signal.SIG_DFL)
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, preexec_fn=listen)
    deadline = time.monotonic() + 30
    while not (recipe.bin / "hanging").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    running.send_signal(number)
    _, errors = running.communicate(timeout=30)
    assert running.returncode == 143
    assert "stopped by a signal" in errors
    assert (recipe.bin / "saved").exists()


def test_the_installer_is_called_when_there_is_no_environment(recipe: Recipe) -> None:
    (recipe.root / ".venv").rename(recipe.root / "made by the installer")
    installer = recipe.root / "tools" / "install.sh"
    installer.write_text('#!/bin/sh\ncd "$(dirname "$0")/.." && mv "made by the installer" .venv\n')
    installer.chmod(0o755)
    assert "running tools/install.sh" in recipe.run("--mini", "true", "--stop-stage", "0").stderr
    assert recipe.verbs() == ["data_prep"]


def test_a_missing_command_after_installation_is_a_clear_failure(recipe: Recipe) -> None:
    (recipe.bin / "vqaudio").unlink()
    installer = recipe.root / "tools" / "install.sh"
    installer.write_text("#!/bin/sh\n")
    installer.chmod(0o755)
    assert "vqaudio is missing" in recipe.run("--mini", "true", code=1).stderr


def test_relative_paths_are_those_of_the_caller(recipe: Recipe) -> None:
    (recipe.root / "al ign.ctm").write_text("")
    recipe.run("--vctk-root", "my corpus/", "--alignment", "al ign.ctm", "--stop-stage", "0")
    call = recipe.calls()[0]
    assert call[:3] == ["data_prep", "--vctk-root", str(recipe.corpus)]
    assert call[3:5] == ["--alignment", str(recipe.root / "al ign.ctm")]
    assert (recipe.folder / "data" / "my corpus" / "all").is_dir()


def test_unseen_speakers_are_decoded_without_a_voice_and_seen_ones_with(recipe: Recipe) -> None:
    recipe.run("--mini", "true")
    voices = {Path(call[call.index("--out") + 1]).name: call for call in recipe.calls() if call[0] == "decode"}
    assert set(voices) == {"test_seen", "test_seen_swap", "test_unseen", "wav"}  # the last for the listening test
    assert "--utt2spk" not in voices["test_unseen"]
    assert voices["test_seen"][-1].endswith("data/mini/test_seen/utt2spk")
    assert voices["test_seen_swap"][-1].endswith("swap_utt2spk")


def test_the_curve_is_of_the_units_and_both_baselines_where_there_are_phones(recipe: Recipe) -> None:
    recipe.run("--mini", "true")
    (curve,) = (call for call in recipe.calls() if call[:2] == ["evaluate", "curve"])
    models = [curve[n + 1] for n, word in enumerate(curve) if word == "--model"]
    exp = recipe.folder / "exp" / "mini_tiny_kmeans"
    folders = [exp / "baseline" / features / "kmeans.safetensors" for features in ("mfcc", "mfcc-stacked")]
    assert models == [str(exp), *map(str, folders)]
    assert recipe.verbs().index("score_baselines") < recipe.verbs().index("collect_scores")
    assert curve[curve.index("--change-penalties") + 1 :][:4] == ["0", "0.5", "1", "2"]  # few, as each takes time
    assert curve[curve.index("--json") + 1] == str(exp / "scores" / "curve.json")
    (recipe.folder / "data" / "mini" / "test_seen" / "phones.ctm").unlink()
    (exp / "scores.json").unlink()
    recipe.run("--mini", "true", "--stage", "6")
    assert not [call for call in recipe.calls() if call[:2] == ["evaluate", "curve"]]


def judged(recipe: Recipe) -> dict[str, list[str]]:
    """What the last run scored by judges: the name of each wav folder, and the command."""
    calls = [call for call in recipe.calls() if call[:2] == ["evaluate", "audio"] and "--judges" in call]
    return {Path(call[call.index("--system") + 1]).parent.name: call for call in calls}


def test_judges_score_speech_and_its_swap_where_a_whisper_model_is_named(recipe: Recipe) -> None:
    assert "no judges: VQAUDIO_WHISPER" in recipe.run("--mini", "true").stdout
    assert judged(recipe) == {}
    done = recipe.run("--mini", "true", env={"VQAUDIO_WHISPER": "/models/a whisper"})
    assert "judges listen, with Whisper of /models/a whisper" in done.stdout
    assert recipe.verbs()[:2] == ["check_judges", "evaluate"]  # only what depends on the scores runs again
    calls = judged(recipe)
    assert set(calls) == {"test_seen", "test_seen_swap", "test_unseen"}
    for name, call in calls.items():
        assert call[call.index("--text") + 1].endswith(f"data/mini/{name.removesuffix('_swap')}/text")
        assert call[call.index("--whisper") + 1] == "/models/a whisper"
        assert ("--voices" in call) == (name == "test_seen_swap")


def test_judges_that_cannot_work_are_left_out_with_the_reason_and_so_are_sets_without_text(recipe: Recipe) -> None:
    (recipe.bin / "fail").write_text("check_judges")
    env = {"VQAUDIO_WHISPER": "/models/whisper"}
    done = recipe.run("--mini", "true", env=env)
    assert "no judges: message 1" in done.stdout
    assert judged(recipe) == {}
    (recipe.bin / "fail").unlink()
    (recipe.folder / "data" / "mini" / "test_unseen" / "text").unlink()
    done = recipe.run("--mini", "true", "--stage", "6", env=env)
    assert set(judged(recipe)) == {"test_seen", "test_seen_swap"}
    assert "test_unseen/text" in done.stdout


def systems_of(recipe: Recipe) -> dict[str, str]:
    """The systems of the listening test that the last run built, and whose wav.scp each is."""
    (call,) = [call for call in recipe.calls() if call[0] == "listen"]
    given = [call[n + 1] for n, option in enumerate(call) if option == "--system"]
    exp = str(recipe.folder / "exp")
    return {name: str(Path(path).relative_to(exp)) for name, path in (text.split("=", 1) for text in given)}


def test_the_listening_test_has_the_swap_and_the_other_quantizer_where_it_was_run(recipe: Recipe) -> None:
    recipe.run("--mini", "true")
    here = "mini_tiny_kmeans/wav"
    alone = {"kmeans": f"{here}/test_seen/wav.scp", "kmeans_swap": f"{here}/test_seen_swap/wav.scp"}
    alone["kmeans_penalty"] = "mini_tiny_kmeans/listening/wav/wav.scp"
    assert systems_of(recipe) == alone
    recipe.run("--mini", "true", "--quantizer", "gumbel")
    assert systems_of(recipe)["kmeans"] == alone["kmeans"]
    assert set(systems_of(recipe)) == {"gumbel", "gumbel_swap", "gumbel_penalty", "kmeans"}


def test_an_earlier_listening_test_is_kept(recipe: Recipe) -> None:
    recipe.run("--mini", "true")
    answers = recipe.folder / "exp/mini_tiny_kmeans/listen/private/results.sqlite"
    answers.write_text("answers")
    recipe.run("--mini", "true", "--quantizer", "gumbel")
    done = recipe.run("--mini", "true")
    assert recipe.verbs() == ["listening_set", "extract", "decode", "listen"]
    assert "the earlier listening test is in exp/mini_tiny_kmeans/listen-1" in done.stdout
    assert not answers.exists()
    assert (recipe.folder / "exp/mini_tiny_kmeans/listen-1/private/results.sqlite").read_text() == "answers"


SLURM = {"cmd_backend": "slurm"}
SBATCH = r"""#!/usr/bin/env bash
# Slurm's array on this machine; prints its id, and writes down its options and the outputs as Slurm would read them.
folder=$(dirname "$0") script=${*: -1} code=0
for o in "$@"; do case $o in --array=*) span=${o#*=} ;; --output=*) output=${o#*=} ;; esac; done
printf '%s|' "$@" >>"$folder/submitted"; echo >>"$folder/submitted"
echo 123
output=${output//%%/percent} output=${output//%j/123} output=${output//percent/%}
for i in $(seq "${span%-*}" "${span#*-}"); do
  echo "${output//%a/$i}" >>"$folder/outputs"
  SLURM_ARRAY_TASK_ID=$i bash "$script" >"${output//%a/$i}" 2>&1 &
  echo $! >>"$folder/jobs"
done
for job in $(jobs -p); do wait "$job" || code=1; done
exit "$code"
"""
SCANCEL = r"""#!/usr/bin/env bash
# Ends the jobs of the last array; the id must be the one that sbatch printed.
[ "$*" = "--quiet 123" ] && kill -TERM $(cat "$(dirname "$0")/jobs") 2>/dev/null
"""


def use_slurm(recipe: Recipe) -> None:
    """Make a stand-in of Slurm, and a corpus with three utterances a set, which are enough for two shards."""
    for name, text in {"sbatch": SBATCH, "scancel": SCANCEL}.items():
        (recipe.bin / name).write_text(text)
        (recipe.bin / name).chmod(0o755)
    prep = (recipe.bin / "python").read_text().replace("echo made", r"printf 'u1 s\nu2 s\nu3 s\n'")
    (recipe.bin / "python").write_text(prep)


def shards(recipe: Recipe) -> list[str]:
    return [call[call.index("--shard") + 1] for call in recipe.calls() if call[0] == "extract" and "--shard" in call]


def test_slurm_runs_shards_as_one_array(recipe: Recipe) -> None:
    use_slurm(recipe)
    recipe.run("--mini", "true", "--nj", "2", env=SLURM)
    assert recipe.verbs() == EVERYTHING
    assert sorted(shards(recipe)) == ["1/2"] * 4 + ["2/2"] * 4
    (recipe.bin / "fail").write_text("decode")
    done = recipe.run("--mini", "true", "--tag", "again", env=SLURM, code=1)
    assert "decode_test_seen.log" in done.stderr
    assert "    message 30\n" in done.stderr


@pytest.mark.parametrize("backend", ["local", "slurm"])
def test_a_path_that_looks_like_a_placeholder_stays_as_it_is(tmp_path: Path, backend: str) -> None:
    recipe = Recipe(tmp_path / "a JOB 5%j")
    use_slurm(recipe)
    recipe.run("--mini", "true", "--nj", "2", env={"cmd_backend": backend})
    assert recipe.verbs() == EVERYTHING
    assert sorted(shards(recipe)) == (["1/1"] * 4 if backend == "local" else ["1/2"] * 4 + ["2/2"] * 4)
    assert [path.name for path in tmp_path.iterdir()] == ["a JOB 5%j"]
    logs = {path.name for path in (recipe.folder / "exp/mini_tiny_kmeans/log").glob("extract_dev.*.log")}
    assert logs == {f"extract_dev.{shard.partition('/')[0]}.log" for shard in shards(recipe)}
    outputs = (recipe.bin / "outputs").read_text().splitlines() if backend == "slurm" else []
    assert all(Path(output).is_file() for output in outputs)
    assert len(set(outputs)) == len(outputs)  # no job writes into the output of another


def test_a_job_of_slurm_works_with_its_cores_and_a_local_one_with_all(recipe: Recipe) -> None:
    use_slurm(recipe)
    for backend, cores in (("local", "7"), ("slurm", "3")):
        recipe.run("--mini", "true", "--nj", "7", "--tag", backend, env={"cmd_backend": backend, "slurm_cores": "3"})
        parallel = [call for call in recipe.calls() if "--jobs" in call]
        assert {call[0] for call in parallel} >= {"extract", "decode"}
        assert {call[call.index("--jobs") + 1] for call in parallel} == {cores}
    submitted = (recipe.bin / "submitted").read_text().splitlines()
    assert all("--cpus-per-task=3" in line.split("|") for line in submitted)


def test_an_array_waits_for_the_one_that_a_killed_recipe_has_left(recipe: Recipe) -> None:
    """Slurm starts a singleton when no job of the same name is left; another recipe has other names."""
    use_slurm(recipe)
    other = Recipe(recipe.root.parent / "other")
    use_slurm(other)
    names = []
    for one in (recipe, recipe, other):
        (one.bin / "submitted").unlink(missing_ok=True)
        one.run("--mini", "true", "--stop-stage", "3", "--tag", f"tag{len(names)}", env=SLURM)
        *_, train = (line.split("|") for line in (one.bin / "submitted").read_text().splitlines())
        assert "--dependency=singleton" in train
        names += [option for option in train if option.startswith("--job-name=train-")]
    assert len(set(names)) == 3
    shutil.rmtree(recipe.folder / "exp" / "tag0")
    (recipe.bin / "submitted").unlink()
    recipe.run("--mini", "true", "--stop-stage", "3", "--tag", "tag0", env=SLURM)
    assert names[0] in (recipe.bin / "submitted").read_text()


def test_a_signal_cancels_the_jobs_on_slurm_and_waits_until_training_has_saved(recipe: Recipe) -> None:
    use_slurm(recipe)
    (recipe.bin / "hang").write_text("train")
    command = [str(recipe.folder / "run.sh"), "--mini", "true"]
    running = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=os.environ | SLURM
    )
    deadline = time.monotonic() + 30
    while not (recipe.bin / "hanging").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    running.send_signal(signal.SIGTERM)
    _, errors = running.communicate(timeout=30)
    assert running.returncode == 143
    assert "stopped by a signal" in errors
    assert (recipe.bin / "saved").exists()


def test_what_slurm_says_of_a_failed_job_is_shown(recipe: Recipe) -> None:
    use_slurm(recipe)
    words = "slurmstepd: error: *** JOB 123 CANCELLED DUE TO TIME LIMIT ***"
    said = SBATCH.replace('exit "$code"', f"echo '{words}' >\"${{output//%a/1}}\"; exit 1")
    (recipe.bin / "sbatch").write_text(said)
    assert f"slurm: {words}\n" in recipe.run("--mini", "true", env=SLURM, code=1).stderr


def test_slurm_without_sbatch_is_one_line_that_says_where_to_run(recipe: Recipe) -> None:
    if shutil.which("sbatch"):
        pytest.skip("Slurm is installed here")
    done = recipe.run("--mini", "true", env=SLURM, code=1)
    assert "there is no sbatch here; run on a login node, or set it to local" in done.stderr


def test_the_check_on_a_real_slurm_says_what_to_install_where_there_is_none(tmp_path: Path) -> None:
    command = [shutil.which("bash"), ROOT / "tools" / "slurm.sh"]
    done = subprocess.run(command, env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.endswith("here; apt-get install slurm-wlm munge\n")
    assert done.stderr.count("\n") == 1


def test_a_test_set_with_one_speaker_is_finished_without_a_speaker_swap(recipe: Recipe) -> None:
    recipe.run("--mini", "true")
    exp = recipe.folder / "exp/mini_tiny_kmeans"
    assert (exp / "wav/test_seen_swap").is_dir()
    (recipe.bin / "one speaker").touch()
    (exp / "model.safetensors").write_text("another model")
    done = recipe.run("--mini", "true")
    assert "test_seen has one speaker, so there is no speaker swap" in done.stdout
    assert recipe.verbs() == EVERYTHING[EVERYTHING.index("extract") :]
    assert not (exp / "wav/test_seen_swap").exists()
    assert set(systems_of(recipe)) == {"kmeans", "kmeans_penalty"}


def test_a_swap_gives_every_utterance_another_speaker_and_one_speaker_none(tmp_path: Path) -> None:
    table, out = tmp_path / "utt2spk", tmp_path / "swap_utt2spk"
    command = [sys.executable, str(ROOT / "recipes/vctk/local/swap_speakers.py"), str(table), str(out)]
    datadir.write_table(table, {"a1": "a", "a2": "a", "b1": "b", "c1": "c"})
    subprocess.run(command, check=True)
    assert datadir.read_table(out) == {"a1": "b", "a2": "b", "b1": "c", "c1": "a"}
    datadir.write_table(table, {"a1": "a", "a2": "a"})
    subprocess.run(command, check=True)
    assert not out.exists()


def test_an_unknown_backend_is_refused(recipe: Recipe) -> None:
    assert (
        "not local or slurm; set one of these"
        in recipe.run("--mini", "true", env={"cmd_backend": "sge"}, code=1).stderr
    )


def test_a_download_happens_once_whatever_becomes_of_the_package(recipe: Recipe) -> None:
    script = recipe.folder / "local" / "download.sh"
    script.write_text('#!/bin/sh\nmkdir -p "$1"\necho downloaded >>"$1/file"\n')
    corpus = recipe.folder / "downloads" / "VCTK-Corpus-0.92"
    for package in ("0.1", "0.2"):
        (recipe.bin / "package").write_text(package)
        recipe.run("--download", "true")
    assert (corpus / "file").read_text() == "downloaded\n"
    assert recipe.verbs()[0] == "data_prep"


def test_a_corpus_that_is_not_there_is_one_line_that_says_how_to_get_it(recipe: Recipe) -> None:
    (recipe.folder / "corpus").unlink()
    missing = f"run.sh: {recipe.folder / 'corpus'}: no such folder; restore it with git\n"
    assert recipe.run("--mini", "true", code=1).stderr == missing
    done = recipe.run("--download", "true", "--stage", "0", code=1)
    assert done.stderr.endswith("VCTK-Corpus-0.92: no such folder; run with --stage -1 to download it\n")


def use_real_commands(recipe: Recipe) -> None:
    shutil.rmtree(recipe.root / ".venv")
    (recipe.root / ".venv").symlink_to(ROOT / ".venv")


def test_the_real_data_stages_make_valid_sets_in_a_path_with_spaces(recipe: Recipe) -> None:
    if not (ROOT / ".venv" / "bin" / "vqaudio").exists():
        pytest.skip("the project is not installed in .venv")
    use_real_commands(recipe)
    tone = 0.3 * np.sin(2 * np.pi * 300 * np.arange(8000) / 8000).astype(np.float32)
    for speaker in ("p1", "p2", "p3"):
        for number in range(8):
            path = recipe.corpus / "wav48" / speaker / f"{speaker}_{number:03d}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, tone, 8000)
            text = recipe.corpus / "txt" / speaker / f"{speaker}_{number:03d}.txt"
            text.parent.mkdir(parents=True, exist_ok=True)
            text.write_text(f"Sentence {speaker} {number}.")
    (recipe.corpus / "wav48" / "p1" / "p1_007.wav").write_bytes(b"")
    recipe.run("--vctk-root", "my corpus", "--unseen-speakers", "p3", "--nj", "2", "--stop-stage", "2")
    data = recipe.folder / "data" / "my corpus"
    sizes = {name: len(datadir.read_utterances(data / name)) for name in ("train", "dev", "test_seen", "test_unseen")}
    assert sizes == {"train": 11, "dev": 2, "test_seen": 2, "test_unseen": 8}
    assert (data / "all" / "drops.tsv").read_text().startswith("p1_007\t")
    utterance = datadir.read_utterances(data / "train")[0]
    assert soundfile.info(utterance.path).samplerate == 16000


def test_the_embedded_corpus_is_split_with_its_phones_and_its_folder_is_only_read(recipe: Recipe) -> None:
    if not (ROOT / ".venv" / "bin" / "vqaudio").exists():
        pytest.skip("the project is not installed in .venv")
    use_real_commands(recipe)
    corpus = recipe.folder / "corpus"
    corpus.unlink()
    shutil.copytree(ROOT / "recipes" / "vctk" / "corpus", corpus)
    before = {path: path.stat().st_mtime_ns for path in [corpus, *corpus.rglob("*")]}
    for path in before:
        path.chmod(path.stat().st_mode & ~0o222)
    recipe.run("--mini", "true", "--stop-stage", "1")
    assert {path: path.stat().st_mtime_ns for path in [corpus, *corpus.rglob("*")]} == before
    raw = recipe.folder / "data" / "mini" / "raw"
    sizes = {path.name: len(datadir.read_utterances(path)) for path in raw.iterdir() if path.is_dir()}
    assert sizes == {"train": 408, "dev": 24, "test_seen": 48, "test_unseen": 16}
    assert {name: len(datadir.read_ctm(raw / name / "phones.ctm")) for name in sizes} == sizes
    for path in before:
        path.chmod(path.stat().st_mode | 0o200)


def test_a_kaldi_directory_without_usable_audio_fails_loudly_in_stage_0(recipe: Recipe) -> None:
    if not (ROOT / ".venv" / "bin" / "vqaudio").exists():
        pytest.skip("the project is not installed in .venv")
    use_real_commands(recipe)
    datadir.write_table(recipe.corpus / "wav.scp", {"u": "/absent.wav"})
    datadir.write_table(recipe.corpus / "utt2spk", {"u": "s"})
    done = recipe.run("--data-dir", "my corpus", code=1)
    assert "none of 1 utterances is usable" in done.stderr
    assert "run.sh: stage 0" in done.stderr


@pytest.mark.parametrize(
    ("options", "folder"), [([], "data/mini"), ([], "exp/mini_tiny_kmeans"), (["--tag", "x"], "exp/x")]
)
def test_a_folder_of_somebody_else_is_refused_before_any_work(recipe: Recipe, options: list[str], folder: str) -> None:
    place = recipe.folder / folder
    place.mkdir(parents=True)
    (place / "config.yaml").write_text("of another tool")
    done = recipe.run("--mini", "true", *options, code=2)
    assert f"{place}: holds config.yaml, and no .vqaudio says that vqaudio made this folder" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not recipe.calls()
    assert [path.name for path in place.iterdir()] == ["config.yaml"]
    assert (place / "config.yaml").read_text() == "of another tool"


def test_the_marks_of_the_recipe_are_those_of_the_package(recipe: Recipe) -> None:
    recipe.run("--mini", "true", "--stop-stage", "3")
    exp = recipe.folder / "exp" / "mini_tiny_kmeans"
    assert (exp / MARK).read_text() == f"{model_directory.KIND}\n"
    claim_folder(exp, model_directory.KIND)
    assert (recipe.folder / "data" / "mini" / MARK).read_text() == "recipe data\n"


ODD_IDS = ("{}/{}_0{}", "../../../{}_{}{}", ".hidden{}_{}{}", "{}_" + "\u97f3" * 91 + "_{}{}")


@pytest.mark.parametrize("pattern", ["{0}_{2}", *ODD_IDS])
def test_ids_of_any_form_pass_the_data_stages_and_name_no_file_elsewhere(recipe: Recipe, pattern: str) -> None:
    """Speakers are 1, 13 and 2, whose order only Kaldi refuses."""
    if not (ROOT / ".venv" / "bin" / "vqaudio").exists():
        pytest.skip("the project is not installed in .venv")
    use_real_commands(recipe)
    tone = 0.3 * np.sin(2 * np.pi * 300 * np.arange(8000) / 8000).astype(np.float32)
    soundfile.write(recipe.corpus / "tone.wav", tone, 8000)
    utterances = [
        datadir.Utterance(pattern.format(speaker, speaker, number), recipe.corpus / "tone.wav", speaker)
        for speaker in ("1", "13", "2")
        for number in range(8)
    ]
    datadir.write_utterances(recipe.corpus, utterances)
    before = set(recipe.root.parent.rglob("*"))
    recipe.run("--data-dir", "my corpus", "--unseen-speakers", "2", "--nj", "1", "--stop-stage", "2")
    data = recipe.folder / "data" / "my corpus"
    sets = {name: datadir.read_utterances(data / name) for name in ("train", "dev", "test_seen", "test_unseen")}
    assert {u.utt for u in sets["test_unseen"]} == {u.utt for u in utterances if u.speaker == "2"}
    for name, members in sets.items():
        assert {u.path.parent for u in members} == {data / name / "wav"}
        assert all(u.path.is_file() for u in members)
    new = {path for path in set(recipe.root.parent.rglob("*")) - before if not path.is_dir()}
    assert {path for path in new if not path.is_relative_to(recipe.folder)} == set()
    assert {path.parent for path in new if path.suffix == ".wav"} == {data / name / "wav" for name in sets}


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ("a-1", "A-1", "'A-1' and 'a-1' differ only in case"),
        ("a-1", "a-\x072", "wav.scp:1: contains the control character"),
    ],
)
def test_ids_that_cannot_name_files_are_refused_in_stage_0(
    recipe: Recipe, first: str, second: str, message: str
) -> None:
    if not (ROOT / ".venv" / "bin" / "vqaudio").exists():
        pytest.skip("the project is not installed in .venv")
    use_real_commands(recipe)
    soundfile.write(recipe.corpus / "tone.wav", np.zeros(8000), 8000)
    for name, value in {"wav.scp": recipe.corpus / "tone.wav", "utt2spk": "s"}.items():
        lines = (f"{utt} {value}\n" for utt in sorted([first, second]))
        (recipe.corpus / name).write_text("".join(lines))
    done = recipe.run("--data-dir", "my corpus", "--stop-stage", "2", code=1)
    assert message in done.stderr
    assert "run.sh: stage 0" in done.stderr


@pytest.mark.parametrize("path", ["a b", r"a\b", "a'b", r"a\'b", "end\\", r"q\\'z", "(a,b)=[c]{d}#~$", "ü"])
def test_a_path_is_quoted_so_that_hydra_takes_it_literally(path: str) -> None:
    from hydra.core.override_parser.overrides_parser import OverridesParser

    function = "/^hydra_quote()/,/^}/p"
    script = f"""eval "$(sed -n '{function}' "$1")"; hydra_quote "$2" """
    stages = ROOT / "recipes" / "vctk" / "local" / "stages.sh"
    quoted = subprocess.run(["bash", "-c", script, "x", stages, path], capture_output=True, text=True, check=True)
    value = OverridesParser.create().parse_override(f"key={quoted.stdout}").value()
    assert (value if isinstance(value, str) else value.text) == path
