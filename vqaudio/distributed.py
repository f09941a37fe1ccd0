"""Several training processes under torchrun; with one process everything here does nothing."""

import contextlib
import os
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn


class World(NamedTuple):
    """The processes of a run: this one's `rank` among `size`, `local_rank` on its machine."""

    rank: int
    size: int
    local_rank: int

    @property
    def main(self) -> bool:
        """Whether this process logs, validates and saves."""
        return self.rank == 0

    def device(self, choice: str) -> torch.device:
        """Return the device of this process: `auto` is a GPU of its own where there is one."""
        if choice == "auto":
            choice = "cuda" if torch.cuda.is_available() else "cpu"
        return torch.device(choice, self.local_rank) if choice == "cuda" else torch.device(choice)

    def agree(self, value: float) -> float:
        """Return the largest value of all processes."""
        if self.size == 1:
            return value
        backend_device = "cuda" if dist.get_backend() == "nccl" else "cpu"
        shared = torch.tensor(value, dtype=torch.float64, device=backend_device)
        dist.all_reduce(shared, dist.ReduceOp.MAX)
        return shared.item()

    def barrier(self) -> None:
        """Wait for the other processes."""
        if self.size > 1:
            dist.barrier()


@contextlib.contextmanager
def processes() -> Iterator[World]:
    """Join the process group that torchrun announces in the environment, and leave it at the end."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    world = World(int(os.environ.get("RANK", "0")), size, int(os.environ.get("LOCAL_RANK", "0")))
    if size == 1:
        yield world
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(world.local_rank)
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield world
    finally:
        dist.destroy_process_group()


def wrap(net: nn.Module) -> nn.Module:
    """Average gradients over processes; the WaveNet has none in the codebook phase."""
    if not dist.is_initialized():
        return net
    return nn.parallel.DistributedDataParallel(net, find_unused_parameters=True, broadcast_buffers=False)


def all_reduce(tensors: Iterable[Tensor]) -> None:
    """Sum tensors over processes in place, so that every process goes on with the same numbers."""
    if dist.is_initialized():
        for tensor in tensors:
            dist.all_reduce(tensor)


def broadcast(tensors: Iterable[Tensor]) -> None:
    """Copy tensors from the first process to the others."""
    if dist.is_initialized():
        for tensor in tensors:
            dist.broadcast(tensor, src=0)
