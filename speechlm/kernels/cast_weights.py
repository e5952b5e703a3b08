"""Weights of a layer in the type in which it computes, cast by one kernel for all passes.

A pre-training step goes through the shared layers twice, with speech and with text. Each pass gets
results of its own that lie in the same memory, so that what comes back for them is added up by one
kernel, and not weight by weight.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

Weights = dict[str, Tensor]
"""By the names that a layer's parameters have."""
Packed = Mapping[str, Sequence[str]]
"""Name of one tensor: names of the weights that lie in it, one below the other."""

_passes = 1
_cast: dict[tuple[int, torch.dtype], list[Weights]] = {}


@contextmanager
def cast_once(passes: int) -> Iterator[None]:
    """Casts the weights of each layer once, for at most so many passes, until the block ends."""
    global _passes, _cast
    before = _passes, _cast
    _passes, _cast = passes, {}
    try:
        yield
    finally:
        _passes, _cast = before


def cast_weights(layer: nn.Module, dtype: torch.dtype, packed: Packed | None = None) -> Weights:
    """The weights of a layer in that type; of those that are `packed` the one tensor.

    In a block of `cast_once` a layer must not change, and is always packed in the same way.
    """
    key = id(layer), dtype
    if not _cast.get(key):
        passes = _new(layer, dtype, packed or {}, _passes)
        if _passes == 1:
            return passes[0]
        _cast[key] = passes
    return _cast[key].pop()


def _new(layer: nn.Module, dtype: torch.dtype, packed: Packed, passes: int) -> list[Weights]:
    parameters = dict(layer.named_parameters())
    inside = {name for names in packed.values() for name in names}
    groups = {name: (name,) for name in parameters if name not in inside} | dict(packed)
    wide = [parameters[name] for names in groups.values() for name in names]
    sizes = [len(names) for names in groups.values()]
    tensors = _Cast.apply(dtype, sizes, passes, *wide)
    return [dict(zip(groups, tensors[n::passes], strict=True)) for n in range(passes)]


class _Cast(torch.autograd.Function):
    """Tensors in another type, group by group in one tensor, each result once for every pass.

    sizes: how many tensors each group has, which lie one below the other in its result.
    """

    @staticmethod
    def forward(
        ctx, dtype: torch.dtype, sizes: list[int], passes: int, *wide: Tensor
    ) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)
        groups = _groups(sizes, wide)
        ctx.passes, ctx.lengths = passes, [[len(x) for x in group] for group in groups]
        ctx.types = [tensor.dtype for tensor in wide]
        results = [
            group[0].new_empty(sum(map(len, group)), *group[0].shape[1:], dtype=dtype)
            for group in groups
        ]
        pieces = [x.split(own) for x, own in zip(results, ctx.lengths, strict=True)]
        _copy([piece for own in pieces for piece in own], wide)
        aliases = [x if n == 0 else x.detach() for x in results for n in range(passes)]
        trained = [any(needed) for needed in _groups(sizes, ctx.needs_input_grad[3:])]
        fixed = [x for n, x in enumerate(aliases) if not trained[n // passes]]
        ctx.mark_non_differentiable(*fixed)
        return tuple(aliases)

    @staticmethod
    @once_differentiable
    def backward(ctx, *gradients: Tensor | None):
        sums = _sums([gradients[n :: ctx.passes] for n in range(ctx.passes)])
        pieces: list[Tensor | None] = []
        for total, lengths in zip(sums, ctx.lengths, strict=True):
            pieces += [None] * len(lengths) if total is None else total.split(lengths)
        given = [(x, dtype) for x, dtype in zip(pieces, ctx.types, strict=True) if x is not None]
        wide = [torch.empty_like(x, dtype=dtype) for x, dtype in given]
        _copy(wide, [x for x, _ in given])
        copied = iter(wide)
        return None, None, None, *(None if x is None else next(copied) for x in pieces)


def _groups(sizes: Sequence[int], values: Sequence[Any]) -> list[list[Any]]:
    """The values, so many in each list."""
    rest = iter(values)
    return [[next(rest) for _ in range(size)] for size in sizes]


def _sums(passes: list[tuple[Tensor | None, ...]]) -> list[Tensor | None]:
    """Of each result the sum of what the passes give back for it."""
    sums: dict[int, Tensor] = {}
    for gradients in passes:
        given = {n: x for n, x in enumerate(gradients) if x is not None}
        both = [n for n in given if n in sums]
        if both:
            added = torch._foreach_add([sums[n] for n in both], [given[n] for n in both])
            given |= zip(both, added, strict=True)
        sums |= given
    return [sums.get(n) for n in range(len(passes[0]))]


def _copy(into: list[Tensor], tensors: Sequence[Tensor]) -> None:
    if into:
        torch._foreach_copy_(into, list(tensors))
