"""Print why speech cannot be judged here, and exit with 2; print nothing if it can."""

from script import run

from vqaudio.metrics.judge_setup import find_whisper, require_judges


def main() -> None:
    """Look for a Whisper model and for the packages of the judges."""
    find_whisper(None)
    require_judges()


if __name__ == "__main__":
    run(main)
