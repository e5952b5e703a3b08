"""Dropout whose bits are cheap on a CPU: a bit an entry is all that is kept for the backward pass.

torch fills dropout masks one entry at a time on a CPU, which took 7 % of the authors' training
step. Here a mask costs 16 bits an entry of a fast counter-free generator, seeded from torch's.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from speechlm.kernels import fast

_STEPS = 1 << 16
"""Probabilities are rounded to multiples of 1 / 65536."""


class KeepMasks:
    """A sequence of random 0/1 masks on the CPU, drawn once and repeated at will.

    Args:
        p: probability of a zero.
        seed: the same seed gives the same sequence of masks.
    """

    def __init__(self, p: float, seed: int):
        self.threshold = round(p * _STEPS)
        self.scale = _STEPS / max(1, _STEPS - self.threshold)
        self._generator = np.random.Generator(np.random.SFC64(seed))
        self._drawn: list[tuple[np.ndarray, torch.Size]] = []

    def draw(self, size: torch.Size, dtype: torch.dtype) -> Tensor:
        """The next mask, as zeros and ones of the given shape and type."""
        count = size.numel()
        # Four draws of 16 bits from each word of 64; kept where they reach the threshold.
        words = self._generator.integers(0, 2**64, size=-(-count // 4), dtype=np.uint64)
        keep = words.view(np.uint16)[:count] >= self.threshold
        self._drawn.append((np.packbits(keep), size))
        return _as_tensor(keep.view(np.int8), size, dtype)

    def repeat(self, dtype: torch.dtype) -> Iterator[Tensor]:
        """The masks that were drawn, in their order."""
        for bits, size in self._drawn:
            yield _as_tensor(np.unpackbits(bits, count=size.numel()), size, dtype)


def _as_tensor(mask: np.ndarray, size: torch.Size, dtype: torch.dtype) -> Tensor:
    return torch.from_numpy(mask).view(size).to(dtype)  # from bytes: from bool it is slow


def draw_seed() -> int:
    """A seed from torch's CPU generator, so that torch.manual_seed governs the masks."""
    return int(torch.randint(2**62, ()).item())


def dropout(x: Tensor, p: float, training: bool) -> Tensor:
    """Zeroes entries of x with probability p and scales the rest by 1 / (1 - p), in training."""
    if not training or p <= 0.0:
        return x
    if p >= 1.0 or not fast("dropout", x):
        return F.dropout(x, p)
    return _SeededDropout.apply(x, p, draw_seed())


class _SeededDropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, p: float, seed: int) -> Tensor:
        ctx.masks = KeepMasks(p, seed)
        return ctx.masks.draw(x.shape, x.dtype).mul_(x).mul_(ctx.masks.scale)

    @staticmethod
    def backward(ctx, gradient: Tensor):
        (mask,) = ctx.masks.repeat(gradient.dtype)
        return mask.mul_(gradient).mul_(ctx.masks.scale), None, None
