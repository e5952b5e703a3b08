"""Convolution by two taps, two outputs at a time with three products in place of four.

y0 = x0 a + x1 b and y1 = x1 a + x2 b share x1 (a + b): y0 = (x0 - x1) a + x1 (a + b),
y1 = x1 (a + b) - (x1 - x2) b (Winograd 1980). T outputs, C input and O output channels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from speechlm.kernels.products import product


class TwoTaps:
    """Weights a, b (O, C) of the two taps."""

    def __init__(self, a: Tensor, b: Tensor):
        self.a, self.b = a.contiguous(), b.contiguous()
        self.both = a + b

    def __call__(self, x: Tensor) -> Tensor:
        """(T + 1, C) -> (T, O)."""
        count = len(x) - 1
        first, second, third = _triples(x)  # x0, x1, x2 of every two outputs, (T // 2, C)
        shared = product(second, self.both)  # x1 (a + b)
        y = x.new_empty(count, len(self.a))
        torch.add(shared, product(first - second, self.a), out=y[: count - count % 2 : 2])
        torch.sub(shared, product(second - third, self.b), out=y[1::2])
        if count % 2:  # a last output without a partner: two products
            y[-1:] = product(x[-2:-1], self.a) + product(x[-1:], self.b)
        return y


def two_taps_gradient(x: Tensor, d_y: Tensor) -> tuple[Tensor, Tensor]:
    """Of a and b (O, C): inputs x (T + 1, C), gradients d_y (T, O) of the outputs."""
    count = len(d_y)
    first, second, third = _triples(x)
    even, odd = d_y[: count - count % 2 : 2], d_y[1::2]
    # d_a = e^T x0 + o^T x1 = (e + o)^T x1 + e^T (x0 - x1),
    # d_b = e^T x1 + o^T x2 = (e + o)^T x1 - o^T (x1 - x2): three products of four here, too.
    shared = (even + odd).T @ second
    d_a = torch.addmm(shared, even.T, first - second)
    d_b = shared.addmm_(odd.T, second - third, alpha=-1)
    if count % 2:
        d_a.addmm_(d_y[-1:].T, x[-2:-1])
        d_b.addmm_(d_y[-1:].T, x[-1:])
    return d_a, d_b


def _triples(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The inputs of every two outputs, as views (T // 2, C)."""
    end = (len(x) - 1) // 2 * 2
    return x[0:end:2], x[1:end:2], x[2 : end + 1 : 2]
