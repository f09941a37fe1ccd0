"""Several training processes under torchrun; with one process everything here does nothing."""

import contextlib
import os
import time
import warnings
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn

from vqaudio.errors import JobError, StoppedError, UserError, first_line

RELEASE_SECONDS = 0.2
"""Time for gloo's threads to let go of the tensors of the last collective, for which they need Python's lock: the end
of the group waits for them while it holds that lock, and then hangs (seen with torch 2.13)."""

ENVIRONMENT = {"RANK": 0, "WORLD_SIZE": 1, "LOCAL_RANK": 0}
"""Variables that torchrun sets, and what holds without it."""


class World(NamedTuple):
    """The processes of a run: this one's `rank` among `size`, and the `device` that it trains on."""

    rank: int
    size: int
    device: torch.device

    @property
    def main(self) -> bool:
        """Whether this process logs, validates and saves."""
        return self.rank == 0

    def agree(self, value: float) -> float:
        """Return the largest value of all processes."""
        if not dist.is_initialized():
            return value
        shared = torch.tensor(value, dtype=torch.float64, device=self.device)
        dist.all_reduce(shared, dist.ReduceOp.MAX)
        return shared.item()

    def gather(self, tensor: Tensor) -> list[Tensor]:
        """Return the tensors of all processes, by rank, on the CPU; they have one shape and type."""
        if not dist.is_initialized():
            return [tensor.cpu()]
        mine = tensor.to(self.device)
        tensors = [torch.empty_like(mine) for _ in range(self.size)]
        dist.all_gather(tensors, mine)
        return [x.cpu() for x in tensors]

    def barrier(self) -> None:
        """Wait for the other processes."""
        if dist.is_initialized():
            dist.barrier()


@contextlib.contextmanager
def processes(choice: str) -> Iterator[World]:
    """Join the process group that torchrun announces in the environment, and leave it at the end.

    One process under torchrun makes a group as well: with `--nnodes=1:4` it is what is left of a larger one.

    Args:
        choice: `cpu`, `cuda`, or `auto`: a GPU of its own for each process if there are GPUs, else the CPU.

    Raises:
        UserError: there are fewer GPUs than processes on this machine, or torchrun could not start them again.
        JobError: another process ended or cannot be reached.
    """
    _require_own_store()
    rank, size, local_rank = (int(os.environ.get(name, n)) for name, n in ENVIRONMENT.items())
    device = _device(choice, local_rank)
    if size == 1 and not dist.is_torchelastic_launched():
        yield World(rank, size, device)
        return
    try:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
        try:
            yield World(rank, size, device)
            time.sleep(RELEASE_SECONDS)
        except StoppedError:
            time.sleep(RELEASE_SECONDS)
            raise
        finally:
            dist.destroy_process_group()
    except RuntimeError as error:
        if not _is_about_others(error):
            raise
        reason = first_line(error).split(". ")[0]
        raise JobError(
            f"process {rank} of {size}: another process ended or cannot be reached ({reason}); the same command "
            "continues from the last state, and torchrun --max-restarts=N gives it by itself"
        ) from error


def _require_own_store() -> None:
    """Refuse restarts in which processes would wait for those that ended.

    By default torchrun keeps one store for all restarts, and in it the addresses of processes that are no more (seen
    with torch 2.13).
    """
    shared = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    if shared and int(os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0")) > 0:
        raise UserError(
            "torchrun --max-restarts: processes would find the addresses of those that ended, and wait for them; "
            "set TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 for torchrun, on every machine"
        )


def _is_about_others(error: RuntimeError) -> bool:
    """Return whether the error is one of the process group; those of gloo have no type of their own."""
    return isinstance(error, dist.DistError) or "gloo" in str(error)


def _device(choice: str, local_rank: int) -> torch.device:
    """Return the device of the process with this rank on its machine."""
    if choice == "cpu" or (choice == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    gpus = torch.cuda.device_count()
    if local_rank >= gpus:
        raise UserError(
            f"trainer.device={choice}: torch finds {gpus} GPUs here, and process {local_rank} needs one of its own; "
            + (f"start {gpus} processes a machine (--nproc-per-node={gpus})" if gpus else "set trainer.device=cpu")
        )
    device = torch.device("cuda", local_rank)
    torch.cuda.set_device(device)
    return device


def wrap(net: nn.Module) -> nn.Module:
    """Return the network with gradients averaged over processes; not all of its weights need one in every phase."""
    if not dist.is_initialized():
        return net
    # Strides of a 1 x 1 convolution can be said in several ways; `broadcast_buffers` is to have another name.
    warnings.filterwarnings("ignore", message="Grad strides do not match bucket view")
    warnings.filterwarnings("ignore", message="`broadcast_buffers` is deprecated", category=FutureWarning)
    return nn.parallel.DistributedDataParallel(net, find_unused_parameters=True, broadcast_buffers=False)


def all_reduce(tensors: Iterable[Tensor]) -> int:
    """Sum tensors over processes in place, so that every process has the same numbers; return the number of these."""
    if not dist.is_initialized():
        return 1
    for tensor in tensors:
        dist.all_reduce(tensor)
    return dist.get_world_size()


def share(count: Tensor) -> Tensor:
    """Return a count over the mean of all processes' counts: the weight of a mean of so many items in that of all."""
    if not dist.is_initialized():
        return torch.ones_like(count, dtype=torch.float32)
    whole = count.to(torch.float32, copy=True)
    dist.all_reduce(whole)
    return count * dist.get_world_size() / whole


def mean(tensor: Tensor, weight: Tensor) -> Tensor:
    """Return the mean of weighted tensors over processes, with the gradient of this process's own tensor.

    Gradients of a loss that weighs the same are those of the whole batch once they are averaged over processes.
    """
    if not dist.is_initialized():
        return tensor
    own = tensor.detach()
    whole = weight * own
    dist.all_reduce(whole)
    return tensor + (whole / dist.get_world_size() - own)


def broadcast(tensors: Iterable[Tensor]) -> None:
    """Copy tensors from the first process to the others."""
    if dist.is_initialized():
        for tensor in tensors:
            dist.broadcast(tensor, src=0)
