"""Fuzzes the readers of foreign bytes for longer than tests/test_fuzz.py, with the same properties.

    .venv/bin/python tools/fuzz.py --minutes 10 [--reader NAME] [--seed N]

Each reader runs in a process of its own with bounded memory. Prints a line for each reader: examples, seconds, and
failures with the seed that makes them again; exit code 1 on a failure.
"""

import argparse
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MAX_MEMORY = 6 << 30
"""Bytes of address space; the libraries take about half."""
MAX_SECONDS = 5
"""For one example."""
BATCH = 50
"""Examples of one seed."""


def main() -> int:
    """Run the readers one after another; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=10.0, help="time of all readers together")
    parser.add_argument("--reader", help="only this one")
    parser.add_argument("--seed", type=int, default=0, help="of the first batch of each reader")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
    from fuzz_inputs import READERS

    names = [args.reader] if args.reader else list(READERS)
    if names[0] not in READERS:
        parser.error(f"no reader {names[0]}; use one of {', '.join(READERS)}")
    if args.child:
        return fuzz(args.reader, args.minutes * 60, args.seed)
    failed = 0
    for name in names:
        share = str(args.minutes / len(names))
        command = [sys.executable, __file__, "--child", "--reader", name, "--minutes", share, "--seed", str(args.seed)]
        code = subprocess.run(command, check=False).returncode
        if code < 0:
            print(
                f"{name}: killed by {signal.Signals(-code).name}; the last seed printed is the one to try", flush=True
            )
        failed += code != 0
    print(f"{len(names)} readers, {failed} with failures")
    return 1 if failed else 0


def fuzz(name: str, seconds: float, seed: int) -> int:
    """Fuzz one reader in this process; return the exit code."""
    from fuzz_inputs import CASES, READERS, Bench
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis import seed as seeded

    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, MAX_MEMORY))
    signal.signal(signal.SIGALRM, _too_long)
    examples, began = 0, time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        bench = Bench(READERS[name], Path(folder) / "bench")

        def attempt(case: object) -> None:
            nonlocal examples
            examples += 1
            signal.setitimer(signal.ITIMER_REAL, MAX_SECONDS)
            try:
                bench.try_case(case)  # type: ignore[arg-type]
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)

        run = settings(
            max_examples=BATCH,
            database=None,
            deadline=None,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        )
        while examples == 0 or time.monotonic() - began < seconds:
            try:
                seeded(seed)(run(given(case=CASES)(attempt)))()
            except Exception:
                traceback.print_exc()
                print(f"{name}: FAILED after {examples} examples: --reader {name} --seed {seed}", flush=True)
                return 1
            seed += 1
        print(f"{name}: {examples} examples in {time.monotonic() - began:.0f} s, no failure", flush=True)
    return 0


def _too_long(*_: object) -> None:
    raise TimeoutError(f"an example took more than {MAX_SECONDS} s")


if __name__ == "__main__":
    sys.exit(main())
