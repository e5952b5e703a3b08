"""The losses of masked prediction for GPUs: both depths at once, gradients written out.

Alone, each of these steps is quick on a GPU, and starting its kernel is what it costs: a norm of
rows has 13 of them in torch's gradient. Here they are as few as the definition needs.

N frames to predict of the (B, T) of a batch, D model width, P width of the unit space, V units,
index k of a depth, of which there are K.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from speechlm.kernels.products import compute_type, without_autocast

SMALLEST = 1e-8
"""Length from which on a row is divided by its length."""


def unit_losses(
    hidden: Sequence[Tensor],
    frames: Tensor,
    targets: Tensor,
    projections: Sequence[nn.Linear],
    embeddings: Sequence[Tensor],
    temperature: float,
) -> tuple[tuple[Tensor, ...], Tensor, Tensor]:
    """Cross entropy of cos(W_k h, e_kv) / temperature at each depth.

    Products of states are in autocast's type, those of cosines in float32.

    Args:
        hidden: K of (B, T, D).
        frames: (N,) places in the flattened (B, T), none twice.
        targets: (N,) units.
        projections: K of D -> P, with biases.
        embeddings: K of (V, P).
        temperature: what cosines are divided by.

    Returns:
        K losses (), summed over the frames; how many of them have their target as the best unit,
        (K,) float32; scores (K, N, V), which pass no gradient on.
    """
    dtype = compute_type(hidden[0])
    wide = [layer.weight for layer in projections], [layer.bias for layer in projections]
    with torch.autocast(hidden[0].device.type, enabled=False):
        tensors = *hidden, *wide[0], *wide[1], *embeddings
        *losses, correct, logits = _UnitLosses.apply(dtype, temperature, frames, targets, *tensors)
    return tuple(losses), correct, logits


class _UnitLosses(torch.autograd.Function):
    @staticmethod
    def forward(ctx, dtype, temperature, frames, targets, *tensors):
        depths = len(tensors) // 4
        hidden, weights, biases, embeddings = (
            tensors[n * depths : (n + 1) * depths] for n in range(4)
        )
        # (K, P, D) and (K, P) in the type of products, by one kernel
        weight = hidden[0].new_empty(depths, *weights[0].shape, dtype=dtype)
        bias = hidden[0].new_empty(depths, *biases[0].shape, dtype=dtype)
        torch._foreach_copy_([*weight, *bias], [*weights, *biases])
        rows = hidden[0].new_empty(depths, len(frames), hidden[0].shape[2], dtype=dtype)
        projected = rows.new_empty(*rows.shape[:2], weight.shape[1])
        for k, states in enumerate(hidden):
            torch.index_select(states.to(dtype).flatten(0, 1), 0, frames, out=rows[k])
            torch.addmm(bias[k], rows[k], weight[k].T, out=projected[k])
        # p / |p| (K, N, P) and e / |e| (K, V, P), in float32 or wider
        exact = torch.promote_types(dtype, torch.float32)
        unit, length = _normalized(projected, exact)
        units, lengths = _normalized(torch.stack(embeddings), exact)
        logits = _scaled_product(unit, units.mT, 1.0 / temperature)
        log_probs = F.log_softmax(logits, -1)
        losses = [F.nll_loss(scores, targets, reduction="sum") for scores in log_probs]
        correct = (logits.argmax(-1) == targets).sum(1, dtype=exact)
        ctx.save_for_backward(
            frames, targets, rows, weight, unit, length, units, lengths, log_probs
        )
        ctx.temperature, ctx.shape = temperature, hidden[0].shape
        ctx.types = [x.dtype for x in tensors]
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(correct, logits)
        return *losses, correct, logits

    @staticmethod
    @once_differentiable
    @without_autocast
    def backward(ctx, *gradients: Tensor | None):
        frames, targets, rows, weight, unit, length, units, lengths, log_probs = ctx.saved_tensors
        depths, dtype = len(rows), rows.dtype
        # Of scores: (softmax - [v = target]) d_loss_k
        d_log_probs = torch.empty_like(log_probs)
        for k, d_loss in enumerate(gradients[:depths]):
            d_loss = log_probs.new_zeros(()) if d_loss is None else d_loss
            _nll_backward(d_loss, log_probs[k], targets, d_log_probs[k])
        d_logits = torch._log_softmax_backward_data(d_log_probs, log_probs, -1, log_probs.dtype)
        d_unit = _scaled_product(d_logits, units, 1.0 / ctx.temperature)
        d_units = _scaled_product(d_logits.mT, unit, 1.0 / ctx.temperature)
        d_projected = _normalized_backward(d_unit, unit, length, dtype)
        d_embeddings = _normalized_backward(d_units, units, lengths, ctx.types[-1])
        # y = h W^T + b:  dh = dy W,  dW = dy^T h,  db = sum of dy over frames
        d_rows = d_projected @ weight
        d_weight = (d_projected.mT @ rows).to(ctx.types[depths])
        d_bias = d_projected.sum(1, dtype=ctx.types[2 * depths])
        d_hidden = []
        for k in range(depths):
            spread = d_rows.new_zeros(ctx.shape)
            spread.flatten(0, 1).index_copy_(0, frames, d_rows[k])
            d_hidden.append(spread.to(ctx.types[k]))
        return None, None, None, None, *d_hidden, *d_weight, *d_bias, *d_embeddings


def _normalized(x: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """x / |x| and |x| for each row of x (K, N, P), in that type."""
    length = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=dtype).clamp_(min=SMALLEST)
    return x / length, length


def _normalized_backward(d_u: Tensor, u: Tensor, length: Tensor, dtype: torch.dtype) -> Tensor:
    """u = x / |x|:  dx = (du - u (u . du)) / |x|, in that type. Overwrites du."""
    d_u.addcmul_(u, (u * d_u).sum(-1, keepdim=True), value=-1.0)
    return torch.div(d_u, length, out=torch.empty_like(d_u, dtype=dtype))


def _scaled_product(a: Tensor, b: Tensor, scale: float) -> Tensor:
    """scale a . b of each depth, by one kernel; what is empty is not read."""
    return torch.baddbmm(a.new_empty(()), a, b, beta=0.0, alpha=scale)


def _nll_backward(d_loss: Tensor, log_probs: Tensor, targets: Tensor, out: Tensor) -> None:
    """Gradient of `F.nll_loss(log_probs, targets, reduction="sum")`, written into `out`."""
    torch.ops.aten.nll_loss_backward.grad_input(
        d_loss, log_probs, targets, None, 2, -100, log_probs.new_empty(()), grad_input=out
    )


def mean_square(x: Tensor) -> Tensor:
    """Mean of the squares of x, (), in float32: x is read once, and once for its gradient."""
    return _MeanSquare.apply(x)


class _MeanSquare(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        exact = torch.promote_types(x.dtype, torch.float32)
        return torch.linalg.vector_norm(x, dtype=exact).square() / x.numel()

    @staticmethod
    @once_differentiable
    @without_autocast
    def backward(ctx, d_mean: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return x * (d_mean * (2.0 / x.numel()))
