"""Relative attention on a GPU as operations of torch, which Triton's kernels carry out.

As torch's own operations they have shapes on the meta device, stand in graphs of torch.compile, and
know their gradients. Their kernels are in triton_attention, which is imported when the first one
runs.

B rows, H heads, T frames, d head width, R relative positions.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

TYPES = (torch.float32, torch.bfloat16)
WIDEST = 128
"""The widest head whose blocks find room in a GPU's shared memory."""

_INPUTS = "Tensor query, Tensor key, Tensor value, Tensor relative, "
_INPUTS += "Tensor? padding, Tensor? seed, float dropout"
_operation = torch.library.custom_op


def takes(query: Tensor) -> bool:
    """Whether the kernels can compute with queries (.., d) of this type and width."""
    return query.dtype in TYPES and query.shape[-1] <= WIDEST


def gpu_relative_attention(
    query: Tensor, key: Tensor, value: Tensor, table: Tensor, padding: Tensor | None, dropout: float
) -> Tensor:
    """softmax((q . k + q . e_(i-j)) / sqrt(d)) v.

    Args:
        query, key, value: (B, H, T, d), not scaled.
        table: (R, d) relative keys.
        padding: (B, T) bool, True at the keys at the end that nobody may see; None: all are seen.
        dropout: probability of dropping an attention weight.

    Returns:
        (B, H, T, d).

    Raises:
        ValueError: Triton is not installed.
    """
    # (B, T, H, d): the order in memory, so that nothing is copied
    query, key, value = (x.transpose(1, 2).contiguous() for x in (query, key, value))
    table = table.to(query.dtype)
    with torch.no_grad():  # the gradient through it is a part of _backward
        relative = query @ table.T  # (B, T, H, R): q_i . e_r
    seed = None
    if dropout > 0.0:
        # On the device: nobody waits for it.
        seed = torch.randint(2**62, (1,), device=query.device)
    if padding is not None:
        padding = padding.contiguous()
    mixed, _ = relative_attention(query, key, value, relative, padding, seed, dropout, table)
    return mixed.transpose(1, 2)


def _kernels() -> ModuleType:
    try:
        from speechlm.kernels import triton_attention
    except ModuleNotFoundError as error:
        raise ValueError(
            "SPEECHLM_TRITON=1 asks for the kernels in Triton, but the package triton is not "
            "installed here; install it (pip install triton) or take SPEECHLM_TRITON away"
        ) from error
    return triton_attention


@_operation(
    "speechlm::relative_attention",
    mutates_args=(),
    schema=f"({_INPUTS}, Tensor table) -> (Tensor, Tensor)",
)
def relative_attention(query, key, value, relative, padding, seed, dropout, table):
    """The operation: mixed values (B, T, H, d), and what their gradients need, (B, H, T).

    `relative` (B, T, H, R) is query . table^T; the table is an input as it gets a gradient.
    """
    return _kernels().forward(query, key, value, relative, padding, seed, dropout)


@_operation(
    "speechlm::relative_attention_queries",
    mutates_args=(),
    schema=f"({_INPUTS}, Tensor out, Tensor log_sum, Tensor d_out) -> (Tensor, Tensor, Tensor)",
)
def _queries(*inputs):
    return _kernels().backward_queries(*inputs)


@_operation(
    "speechlm::relative_attention_keys",
    mutates_args=(),
    schema=f"({_INPUTS}, Tensor log_sum, Tensor mean, Tensor d_out) -> (Tensor, Tensor)",
)
def _keys(*inputs):
    return _kernels().backward_keys(*inputs)


@relative_attention.register_fake
def _forward_shapes(query, key, value, relative, *_):
    batch, frames, heads, _width = query.shape
    log_sum = query.new_empty(batch, heads, frames, dtype=torch.float32)
    return torch.empty_like(query), log_sum


@_queries.register_fake
def _shapes_of_queries(query, key, value, relative, padding, seed, dropout, out, log_sum, d_out):
    return torch.empty_like(query), torch.empty_like(relative), torch.empty_like(log_sum)


@_keys.register_fake
def _shapes_of_keys(query, key, value, *_):
    return torch.empty_like(key), torch.empty_like(value)


def _keep_for_backward(ctx: Any, inputs: Any, output: Any) -> None:
    query, key, value, relative, padding, seed, ctx.dropout, table = inputs
    ctx.save_for_backward(query, key, value, relative, padding, seed, table, *output)


def _backward(ctx: Any, d_out: Tensor, _: Any) -> Any:
    query, key, value, relative, padding, seed, table, out, log_sum = ctx.saved_tensors
    inputs = (query, key, value, relative, padding, seed, ctx.dropout)
    d_out = d_out.contiguous()
    d_query, d_relative, mean = _queries(*inputs, out, log_sum, d_out)
    d_key, d_value = _keys(*inputs, log_sum, mean, d_out)
    # relative = q e^T, rows (B T H, .):  dq += drelative e,  de = drelative^T q
    rows = d_relative.flatten(0, 2)
    d_query = torch.addmm(d_query.flatten(0, 2), rows, table).view_as(query)
    d_table = rows.T @ query.flatten(0, 2)
    return d_query, d_key, d_value, None, None, None, None, d_table


relative_attention.register_autograd(_backward, setup_context=_keep_for_backward)


def _forward_operations(query: Any, *_: Any, **__: Any) -> int:
    return 2 * _a_product(query)


def _operations_of_queries(query: Any, *_: Any, **__: Any) -> int:
    return 3 * _a_product(query)


def _operations_of_keys(query: Any, *_: Any, **__: Any) -> int:
    return 4 * _a_product(query)


def _a_product(query: Any) -> int:
    """Operations of a product of (T, d) with (d, T) for each row and head; a sum is one, too."""
    batch, frames, heads, width = query
    return 2 * batch * heads * frames * frames * width


for _of, _formula in (
    (torch.ops.speechlm.relative_attention, _forward_operations),
    (torch.ops.speechlm.relative_attention_queries, _operations_of_queries),
    (torch.ops.speechlm.relative_attention_keys, _operations_of_keys),
):
    register_flop_formula(_of)(_formula)
