"""Batches that stay on the host when ESPnet brings its batches to a GPU.

Masks, lengths and numbers of frames follow from a batch's integers. Where these are on the host,
nothing has to wait for the GPU to tell them (`SpeechLM.forward`). ESPnet moves every tensor of a
batch and waits for each; what is no tensor it leaves alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.utils.data
from torch import Tensor

SENT_WHOLE = 1 << 20
"""Bytes of a tensor up to which its numbers go through the pipe of a loader's process."""
Batch = tuple[list[str], dict[str, Tensor]]


class OnHost:
    """A tensor of a batch, on the host.

    Args:
        tensor: what `taken` gives back.
    """

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor

    def pin_memory(self) -> OnHost:
        """The same in memory that a GPU reads by itself; torch's DataLoader asks for it."""
        return OnHost(self.tensor.pin_memory())

    def __reduce__(self) -> tuple[Any, ...]:
        """How a loader's process hands it over.

        torch opens a file and a connection for each tensor, which takes longer than to send small
        ones.
        """
        if self.tensor.nbytes <= SENT_WHOLE:
            return _of_numbers, (self.tensor.numpy(),)
        return OnHost, (self.tensor,)


def _of_numbers(numbers: np.ndarray) -> OnHost:
    return OnHost(torch.from_numpy(numbers))


def keep_on_host(batch: Batch) -> tuple[list[str], dict[str, OnHost]]:
    """The batch (ids, tensors by name) in a form that ESPnet does not move."""
    ids, tensors = batch
    return ids, {name: OnHost(tensor) for name, tensor in tensors.items()}


def taken(value: Any) -> Any:
    """The tensor of an `OnHost`; anything else as it is."""
    return value.tensor if isinstance(value, OnHost) else value


def empty_to_share(rows: int, columns: int) -> Tensor:
    """(rows, columns) float32 of any values, which a loader's process need not copy to share."""
    if torch.utils.data.get_worker_info() is None:
        return torch.empty(rows, columns)
    size = torch.float32.itemsize * rows * columns
    storage = torch.UntypedStorage._new_shared(size)  # as torch's own collate functions do
    return torch.empty(0).set_(storage, 0, (rows, columns), (columns, 1))
