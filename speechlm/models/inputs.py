"""Checks of what the public methods are given, and evaluation mode for the time of a call."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from speechlm.conventions import Framing

ALIGNMENT = 8
"""Bytes of the widest numbers."""


def to_device(x: Tensor | None, like: Tensor) -> Any:
    """x on the device of `like`, without waiting for it; None stays None."""
    return None if x is None else x.to(like.device, non_blocking=True)


def all_to_device(like: Tensor, *tensors: Tensor | None) -> list[Any]:
    """The tensors on the device of `like`, from the host by one copy; None stays None."""
    given = [x for x in tensors if x is not None]
    if like.device.type == "cpu" or any(x.device.type != "cpu" for x in given):
        return [to_device(x, like) for x in tensors]
    packed = pack(given)
    if like.is_cuda:  # where the GPU reads by itself, so that nobody waits
        packed = packed.pin_memory()
    moved = iter(unpack(to_device(packed, like), given))
    return [None if x is None else next(moved) for x in tensors]


def pack(tensors: Sequence[Tensor]) -> Tensor:
    """What tensors hold as bytes, each from a multiple of `ALIGNMENT` on: (N,) uint8."""
    pieces = []
    for x in tensors:
        content = x.flatten().contiguous().view(torch.uint8)
        pieces += [content, content.new_zeros(-len(content) % ALIGNMENT)]
    return torch.cat(pieces)


def unpack(packed: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """What `pack` has packed, as tensors of the shapes and types of those that it was given."""
    found, start = [], 0
    for x in like:
        stop = start + x.numel() * x.element_size()
        found.append(packed[start:stop].view(x.dtype).view(x.shape))
        start = stop + -stop % ALIGNMENT
    return found


def unless_empty(mask: Tensor) -> Tensor | None:
    """The mask; None where it is known on the host that nothing in it is True."""
    return mask if mask.device.type != "cpu" or bool(mask.any()) else None


def frame_padding(
    sample_lengths: Tensor, samples: int, frames: int, framing: Framing | None
) -> Tensor:
    """(B, T) bool, True on frames that are padding, of T frames for (B,) of S samples.

    The authors cut the S samples into T equal slices, and a frame is padding if its whole slice
    is. With a framing, that of the front end, the count is the front end's instead.
    """
    index = torch.arange(frames, device=sample_lengths.device)
    if framing is not None:
        return index >= framing.frames(sample_lengths).clamp(min=1)[:, None]
    return index * (samples // frames) >= sample_lengths[:, None]


def check_shapes(waveforms: Tensor, lengths: Tensor | None, framing: Framing) -> None:
    """ValueError unless waveforms are (B, S) with at least a frame, and lengths (B,) or None."""
    if waveforms.dim() != 2:
        raise ValueError(
            f"waveforms: expected shape (batch, samples), got {tuple(waveforms.shape)}"
        )
    if waveforms.shape[0] < 1:
        raise ValueError("waveforms: at least one utterance expected, got none")
    if framing.frames(waveforms.shape[1]) < 1:
        raise ValueError(
            f"waveforms of {waveforms.shape[1]} samples are shorter than one frame "
            f"({framing.window})"
        )
    if lengths is not None and lengths.shape != waveforms.shape[:1]:
        raise ValueError(
            f"lengths: expected {waveforms.shape[0]} numbers, one an utterance, "
            f"got shape {tuple(lengths.shape)}"
        )


def check_speech(
    waveforms: Any, lengths: Any, framing: Framing, weight: Tensor
) -> tuple[Tensor, Tensor | None]:
    """Speech that a model can take: waveforms of its weights' type, lengths on their device.

    Args:
        waveforms: (B, S), of any floating-point type, on the device of the weights.
        lengths: (B,) integers, as a tensor or a list, or None.
        framing: that of the model's front end.
        weight: one of the model's weights.

    Raises:
        ValueError: anything else, samples that are not finite, or a length that is above S or
            below one frame.
    """
    if not isinstance(waveforms, Tensor):
        raise ValueError(
            f"waveforms: a torch.Tensor expected, got {type(waveforms).__name__}; "
            "torch.as_tensor makes one"
        )
    if not waveforms.is_floating_point():
        raise ValueError(
            f"waveforms: floating-point samples in [-1, 1] expected, got {waveforms.dtype}; "
            "divide 16-bit integers by 32768"
        )
    if waveforms.device != weight.device:
        raise ValueError(
            f"waveforms are on {waveforms.device}, the model is on {weight.device}; "
            "move one of them with .to()"
        )
    if lengths is not None:
        lengths = _as_tensor(lengths)
    check_shapes(waveforms, lengths, framing)
    if lengths is not None:
        _check_lengths(lengths, waveforms.shape[1], framing)
        lengths = lengths.to(weight.device)
    finite = waveforms.isfinite().all(1)
    if not finite.all():
        rows = ", ".join(map(str, (~finite).nonzero().flatten().tolist()[:5]))
        raise ValueError(f"waveforms: finite samples expected, some of row {rows} are not")
    return waveforms.to(weight.dtype), lengths


def _as_tensor(lengths: Any) -> Tensor:
    try:
        return torch.as_tensor(lengths)
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(
            "lengths: integers, the valid samples of each utterance, as a tensor or a list "
            f"expected; got {str(lengths)[:60]}"
        ) from None


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode; each module has its own mode again at the end."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


def _check_lengths(lengths: Tensor, samples: int, framing: Framing) -> None:
    if lengths.is_floating_point() or lengths.is_complex() or lengths.dtype == torch.bool:
        raise ValueError(
            f"lengths: integers, the valid samples of each utterance, expected; got {lengths.dtype}"
        )
    least = framing.window
    wrong = [(i, n) for i, n in enumerate(lengths.tolist()) if not least <= n <= samples]
    if wrong:
        shown = ", ".join(f"{n} in row {i}" for i, n in wrong[:5])
        raise ValueError(
            f"lengths: samples from {least} (one frame) to {samples} (the waveforms' width) "
            f"expected, got {shown}; leave out utterances that are too short"
        )
