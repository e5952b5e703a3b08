"""A pass through a Transformer layer for GPUs, with all that is between two products as one kernel.

Layers are put together from it in their `fused` methods, beside their plain `forward`.

B rows, T frames, D model width.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from speechlm.kernels import fast
from speechlm.kernels.cast_weights import Packed, Weights, cast_weights
from speechlm.kernels.gpu_attention import WIDEST
from speechlm.kernels.gpu_layers import add_norm, bias_gelu, linear_beside
from speechlm.kernels.products import compute_type

TYPES = (torch.float32, torch.bfloat16)
SEEDS = 5
"""Of a layer, at most: one for each place where it drops something."""


def fused_type(x: Tensor, head_dim: int) -> torch.dtype | None:
    """The type in which such layers compute for x; None: they do not.

    Args:
        x: their input.
        head_dim: width of their heads.
    """
    dtype = compute_type(x)
    fits = dtype in TYPES and head_dim <= WIDEST
    return dtype if fits and fast("fused_layers", x) else None


def draw_seeds(x: Tensor, layers: int) -> Iterator[Tensor]:
    """(SEEDS, 1) seeds of each layer; drawn on the device of x, so that nobody waits for them."""
    return iter(torch.randint(2**62, (layers, SEEDS, 1), device=x.device))


def fused_layer(layer: Any, x: Tensor, shared: tuple[Any, ...], seeds: Tensor | None) -> Tensor:
    """layer(x, *shared, FusedPass) with its weights in the type of x, without autocast.

    Args:
        layer: has `packed`, the weights that it wants as one tensor.
        x: (B, T, D).
        shared: what it gets beside x, of the same type.
        seeds: of `draw_seeds`.
    """
    packed: Packed = layer.packed
    weights = cast_weights(layer, x.dtype, packed)
    with torch.autocast(x.device.type, enabled=False):
        return layer(x, *shared, FusedPass(weights, seeds))


class FusedPass:
    """Weights and randomness of one pass through a layer, and the parts that it is made of.

    Weights are called by the names that they have in the layer.

    Args:
        weights: of `cast_weights`.
        seeds: (N, 1), of the masks of dropout in the order in which they are used; None: nothing
            is dropped.
    """

    def __init__(self, weights: Weights, seeds: Tensor | None):
        self.weights = weights
        self._seeds = None if seeds is None else iter(seeds)

    def drop(self, rate: float) -> tuple[Tensor | None, float]:
        """A seed, and the probability of dropping; None and 0 where nothing is dropped."""
        return (None, 0.0) if self._seeds is None or rate <= 0.0 else (next(self._seeds), rate)

    def linear(self, x: Tensor, name: str, biased: bool = True) -> Tensor:
        """x . weight^T + bias, without the bias if it is for somebody else to add."""
        bias = self.weights[f"{name}.bias"] if biased else None
        return F.linear(x, self.weights[f"{name}.weight"], bias)

    def linear_beside(self, x: Tensor, name: str, biased: bool = True) -> tuple[Tensor, Tensor]:
        """`linear`, and x, which goes on beside it: their gradients are summed by a product."""
        bias = self.weights[f"{name}.bias"] if biased else None
        return linear_beside(x, self.weights[f"{name}.weight"], bias)

    def norm(self, x: Tensor, name: str) -> tuple[Tensor, Tensor]:
        """x, which goes on beside its layer norm, and that."""
        return add_norm(None, None, x, self._norm(name), None, 0.0)

    def add(
        self, branch: Tensor, bias: str | None, x: Tensor, norm: str | None, rate: float
    ) -> tuple[Tensor, Tensor]:
        """x + dropout(branch + bias), and its layer norm.

        Args:
            branch: (B, T, D).
            bias: whose bias it is that `linear` has left out; None: there is none.
            x: (B, T, D).
            norm: name of the norm; None: none, the second result is empty.
            rate: probability of dropping.
        """
        added = None if bias is None else self.weights[f"{bias}.bias"]
        return add_norm(
            branch, added, x, None if norm is None else self._norm(norm), *self.drop(rate)
        )

    def gelu(self, x: Tensor, bias: str, rate: float) -> Tensor:
        """dropout(gelu(x + bias)), with the bias that `linear` has left out."""
        return bias_gelu(x, self.weights[f"{bias}.bias"], *self.drop(rate))

    def _norm(self, name: str) -> tuple[Tensor, Tensor]:
        return self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]
