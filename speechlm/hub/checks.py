"""Checks of what users give to the classes for transformers."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from speechlm.data.whole_files import reading

IGNORED = -100
"""Label that is none, as in transformers."""


def check_files(folder: str | os.PathLike[str]) -> None:
    """Look at the weights of a folder before transformers does, whose messages name no file.

    Raises:
        ValueError: a file is empty, cut off or damaged; it is named.
    """
    for path in sorted(Path(folder).glob("*.safetensors")):
        # Header and size are looked at.
        with reading(path, "weights", "export or copy the model again"), safe_open(path, "pt"):
            pass


def valid_samples(input_values: Tensor, attention_mask: Tensor | None) -> Tensor | None:
    """Samples (B,) that are no padding, of a mask (B, S); None: there is no mask.

    Raises:
        ValueError: the mask has another shape, or padding is not at the end alone.
    """
    if attention_mask is None:
        return None
    for name, given in (("input_values", input_values), ("attention_mask", attention_mask)):
        if not isinstance(given, Tensor):
            raise ValueError(f"{name}: a torch.Tensor expected, got {type(given).__name__}")
    if attention_mask.shape != input_values.shape:
        raise ValueError(
            f"attention_mask: the shape of input_values, {tuple(input_values.shape)}, expected, "
            f"got {tuple(attention_mask.shape)}"
        )
    mask = attention_mask.long()
    if not torch.compiler.is_compiling():
        rows = (mask.diff(dim=1) > 0).any(1).nonzero().flatten().tolist()
        if rows:
            raise ValueError(
                "attention_mask: 1 on the samples and then 0 on the padding expected, but 0 comes "
                f"before 1 in rows {', '.join(map(str, rows[:5]))}; pad on the right"
            )
    return mask.sum(1)


def check_ids(labels: Tensor, size: int, name: str, maker: str) -> None:
    """Refuse labels that are no ids, which a loss would take for others, or fail on a GPU.

    Args:
        labels: of any shape; -100 counts as no label.
        size: ids are below it.
        name: of the size, for the message.
        maker: what makes such labels.

    Raises:
        ValueError: they are no integers, or some are out of range; the largest is named.
    """
    if labels.is_floating_point() or labels.dtype == torch.bool:
        raise ValueError(f"labels: integers expected, got {labels.dtype}")
    odd = labels[(labels >= size) | ((labels < 0) & (labels != IGNORED))]
    if odd.numel():
        raise ValueError(
            f"labels: ids below {name} {size} expected, got {int(odd.max())} ({IGNORED} is none); "
            f"make them with {maker}"
        )
