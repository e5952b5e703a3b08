"""The workers of a distributed training: which one this is, and what they tell each other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed


def rank() -> int:
    """Number of this worker; 0 where there is only one."""
    return torch.distributed.get_rank() if torch.distributed.is_initialized() else 0


def world_size() -> int:
    """How many workers there are."""
    return torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1


def from_all_workers(items: list[Any]) -> list[Any]:
    """The items of all workers, in the order of their numbers."""
    if not torch.distributed.is_initialized():
        return items
    gathered: list[Any] = [None] * world_size()
    torch.distributed.all_gather_object(gathered, items)
    return [item for worker in gathered for item in worker]


def at_first_worker(action: Callable[[], None]) -> None:
    """Do something at the first worker, while the others wait; its error is raised by all.

    Raises:
        ValueError, OSError: what the action raised.
    """
    failed: list[Exception | None] = [None]
    if rank() == 0:
        try:
            action()
        except (ValueError, OSError) as error:
            failed = [error]
    if torch.distributed.is_initialized():
        torch.distributed.broadcast_object_list(failed, 0)
    if failed[0] is not None:
        raise failed[0]
