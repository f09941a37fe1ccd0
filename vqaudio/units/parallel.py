"""Works on utterances in several threads, a few at a time; what fails is told apart from what does not."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TypeVar

from vqaudio.datadir import Utterance
from vqaudio.errors import UserError

Result = TypeVar("Result")


def encode_all(
    encode: Callable[[Utterance], Result], utterances: Iterable[Utterance], jobs: int
) -> Iterator[tuple[str, Result | str]]:
    """Yield (utt, result or the reason of a failure) in the order of completion; only a few are in memory at a time."""
    queue = iter(utterances)
    running: set[Future] = set()
    executor = ThreadPoolExecutor(max_workers=jobs)
    try:
        while True:
            while len(running) < 2 * jobs and (utterance := next(queue, None)) is not None:
                running.add(executor.submit(_encode_one, encode, utterance))
            if not running:
                return
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                yield future.result()
    finally:
        executor.shutdown(cancel_futures=True)


def _encode_one(encode: Callable[[Utterance], Result], utterance: Utterance) -> tuple[str, Result | str]:
    try:
        return utterance.utt, encode(utterance)
    except UserError as error:
        return utterance.utt, str(error)
    except Exception as error:  # one bad file must not stop the others; its reason is recorded
        return utterance.utt, f"{utterance.path}: {type(error).__name__}: {error}"
