"""Relative attention on a GPU as operations of torch, which Triton's kernels carry out.

As torch's own operations they have shapes on the meta device and are counted there. Their kernels
are in triton_attention, which is imported when the first one runs.

B rows, H heads, T frames, d head width, R relative positions.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.utils.flop_counter import register_flop_formula

WIDEST = 128
"""The widest head whose blocks find room in a GPU's shared memory."""

_INPUTS = "Tensor qkv, Tensor relative, Tensor? padding, Tensor? seed, float dropout"


def gpu_relative_attention(
    qkv: Tensor, tables: Tensor, padding: Tensor | None, seed: Tensor | None, dropout: float
) -> Tensor:
    """softmax((q . k + q . e_(i-j)) / sqrt(d)) v.

    Args:
        qkv: (B, T, 3, H, d), contiguous: queries, not scaled, keys and values.
        tables: (H, R, d) relative keys of each head, of the same type; may be an expanded (R, d).
        padding: (B, T) bool, True at the keys at the end that nobody may see; None: all are seen.
        seed: (1,) int64 on the device, of the mask of dropout; None where dropout is 0.
        dropout: probability of dropping an attention weight.

    Returns:
        (B, T, H, d).

    Raises:
        ValueError: Triton is not installed.
    """
    if padding is not None:
        padding = padding.contiguous()
    return _Attention.apply(qkv, tables, padding, seed, dropout)


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx, qkv, tables, padding, seed, dropout):
        # q_i . e_r of each head: (H, B T, d) (H, d, R) -> (H, B, T, R)
        relative = torch.bmm(_by_head(qkv[:, :, 0]), tables.mT)
        relative = relative.view(len(tables), *qkv.shape[:2], -1)
        out, log_sum = relative_attention(qkv, relative, padding, seed, dropout)
        ctx.save_for_backward(qkv, tables, relative, padding, seed, out, log_sum)
        ctx.dropout = dropout
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, d_out: Tensor):
        qkv, tables, relative, padding, seed, out, log_sum = ctx.saved_tensors
        inputs = (qkv, relative, padding, seed, ctx.dropout)
        d_out, d_qkv = d_out.contiguous(), torch.empty_like(qkv)
        d_relative, mean = _queries(*inputs, out, log_sum, d_out, d_qkv[:, :, 0])
        _keys(*inputs, log_sum, mean, d_out, d_qkv[:, :, 1:])
        # relative = q e^T, by heads:  dq += drelative e,  de = drelative^T q
        d_relative = d_relative.flatten(1, 2)
        _by_head(d_qkv[:, :, 0]).baddbmm_(d_relative, tables)
        d_tables = torch.bmm(d_relative.mT, _by_head(qkv[:, :, 0]))
        return d_qkv, d_tables, None, None, None


def _by_head(x: Tensor) -> Tensor:
    """(B, T, H, d) within (B, T, 3, H, d) -> a view (H, B T, d), which products take as it is."""
    return x.flatten(0, 1).transpose(0, 1)


@contextmanager
def needing_triton() -> Iterator[None]:
    """Says what to do where Triton is not installed.

    Raises:
        ValueError: it is not.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise ValueError(
            "SPEECHLM_TRITON=1 asks for the kernels in Triton, but the package triton is not "
            "installed here; install it (pip install triton) or take SPEECHLM_TRITON away"
        ) from error


def _kernels() -> ModuleType:
    with needing_triton():
        from speechlm.kernels import triton_attention
    return triton_attention


def operation(name: str, schema: str, writes: tuple[str, ...] = ()) -> Any:
    """Decorator: the operation `speechlm::NAME`, which writes into arguments of these names."""
    return torch.library.custom_op(f"speechlm::{name}", mutates_args=writes, schema=schema)


@operation("relative_attention", f"({_INPUTS}) -> (Tensor, Tensor)")
def relative_attention(*inputs):
    """The operation: mixed values (B, T, H, d), and what their gradients need, (B, H, T).

    `relative` (H, B, T, R) is query . table^T.
    """
    return _kernels().forward(*inputs)


@operation(
    "relative_attention_queries",
    f"({_INPUTS}, Tensor out, Tensor log_sum, Tensor d_out, Tensor(a!) d_query) "
    "-> (Tensor, Tensor)",
    ("d_query",),
)
def _queries(*inputs):
    return _kernels().backward_queries(*inputs)


@operation(
    "relative_attention_keys",
    f"({_INPUTS}, Tensor log_sum, Tensor mean, Tensor d_out, Tensor(a!) d_key_value) -> ()",
    ("d_key_value",),
)
def _keys(*inputs):
    return _kernels().backward_keys(*inputs)


@relative_attention.register_fake
def _forward_shapes(qkv, *_):
    batch, frames, _, heads, width = qkv.shape
    log_sum = qkv.new_empty(batch, heads, frames, dtype=torch.float32)
    return qkv.new_empty(batch, frames, heads, width), log_sum


@_queries.register_fake
def _shapes_of_queries(qkv, relative, padding, seed, dropout, out, log_sum, *_):
    return torch.empty_like(relative), torch.empty_like(log_sum)


@_keys.register_fake
def _shapes_of_keys(*_):
    return None


def _forward_operations(qkv: Any, *_: Any, **__: Any) -> int:
    return 2 * _a_product(qkv)


def _operations_of_queries(qkv: Any, *_: Any, **__: Any) -> int:
    return 3 * _a_product(qkv)


def _operations_of_keys(qkv: Any, *_: Any, **__: Any) -> int:
    return 4 * _a_product(qkv)


def _a_product(qkv: Any) -> int:
    """Operations of a product of (T, d) with (d, T) for each row and head; a sum is one, too."""
    batch, frames, _, heads, width = qkv
    return 2 * batch * heads * frames * frames * width


for _of, _formula in (
    (torch.ops.speechlm.relative_attention, _forward_operations),
    (torch.ops.speechlm.relative_attention_queries, _operations_of_queries),
    (torch.ops.speechlm.relative_attention_keys, _operations_of_keys),
):
    register_flop_formula(_of)(_formula)
