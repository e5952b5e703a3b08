"""Batches that stay on the host when ESPnet brings its batches to a GPU.

Masks, lengths and numbers of frames follow from a batch's integers. Where these are on the host,
nothing has to wait for the GPU to tell them (`SpeechLM.forward`). ESPnet moves every tensor of a
batch and waits for each; what is no tensor it leaves alone.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

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


def keep_on_host(batch: Batch) -> tuple[list[str], dict[str, OnHost]]:
    """The batch (ids, tensors by name) in a form that ESPnet does not move."""
    ids, tensors = batch
    return ids, {name: OnHost(tensor) for name, tensor in tensors.items()}


def taken(value: Any) -> Any:
    """The tensor of an `OnHost`; anything else as it is."""
    return value.tensor if isinstance(value, OnHost) else value
