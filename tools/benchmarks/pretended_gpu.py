"""A GPU's way through a model, on tensors that have shapes and no numbers (torch's meta device).

Every branch that asks for the device goes where a GPU goes. What only a GPU has is done here: the
casts of CUDA's autocast, its dropout, and which attention kernel takes a learned bias. CTC, which
torch cannot do without numbers, gets results of the right shapes.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

META = "meta"
ALIGNMENT = 8
"""The kernel reads a bias whose rows, heads and utterances begin at multiples of so many numbers;
others are copied before."""

# Source: torch's reference of CUDA's autocast ("Autocast Op Reference"), as far as models use it.
LOW = {"matmul", "mm", "mv", "bmm", "addmm", "addmv", "addbmm", "baddbmm", "linear", "einsum"}
LOW |= {"conv1d", "conv2d", "conv3d", "conv_transpose1d", "scaled_dot_product_attention"}
"""Functions that compute in autocast's type."""
WIDE = {"pow", "exp", "expm1", "log", "log1p", "log2", "log10", "rsqrt", "reciprocal", "norm"}
WIDE |= {"softmax", "log_softmax", "layer_norm", "group_norm", "cumsum", "cumprod", "sum", "prod"}
WIDE |= {"cross_entropy", "nll_loss", "mse_loss", "l1_loss", "ctc_loss", "cosine_similarity"}
"""Functions that compute in float32."""
WIDEST = {"cat", "stack", "addcmul", "addcdiv", "index_put", "scatter_add"}
"""Functions whose arguments all get the widest type among them."""


class PretendedGPU(TorchFunctionMode):
    """Casts arguments as CUDA's autocast does, and takes the attention kernel that a GPU takes.

    Args:
        dtype: autocast's type; None: autocast is off.

    Attributes:
        waits: how often numbers of the host became a tensor of the GPU, for which the host waits;
            `Trace` cannot see it.
    """

    def __init__(self, dtype: torch.dtype | None):
        super().__init__()
        self.dtype = dtype
        self.cast_weights: dict[int, Tensor] = {}
        self.waits = 0

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        name, kwargs = getattr(function, "__name__", ""), kwargs or {}
        # A type that is asked for is kept: autocast leaves such a call alone.
        if self.dtype is not None and kwargs.get("dtype") is None:
            args, kwargs = tree_map(functools.partial(self._cast, name), (args, kwargs))
            if name in WIDEST:
                args, kwargs = _widest(args, kwargs)
        if name == "scaled_dot_product_attention":
            return efficient_attention(*args, **kwargs)
        if name == "dropout":
            return dropout(*args, **kwargs)
        if name == "backward":  # what is computed again there is cast as in the forward pass
            with self:
                return run_backward(*args)
        result = function(*args, **kwargs)
        if name in ("tensor", "as_tensor", "new_tensor") and result.device.type == META:
            self.waits += not (args and isinstance(args[0], Tensor) and name == "as_tensor")
        return result

    def _cast(self, name: str, value: Any) -> Any:
        if not isinstance(value, Tensor) or value.dtype not in (torch.float32, self.dtype):
            return value
        if name in WIDE:
            return value.float()
        if name not in LOW or value.dtype == self.dtype:
            return value
        if not (value.is_leaf and value.requires_grad):
            return value.to(self.dtype)
        # Weights are cast once as long as autocast lasts.
        if id(value) not in self.cast_weights:
            self.cast_weights[id(value)] = value.to(self.dtype)
        return self.cast_weights[id(value)]


def run_backward(loss: Tensor) -> None:
    """loss.backward() for a step within modes, which that would leave."""
    torch.autograd.graph._engine_run_backward(
        (loss,),
        (torch.ones_like(loss),),
        False,
        False,
        (),
        allow_unreachable=True,
        accumulate_grad=True,
    )


def _widest(args: Any, kwargs: Any) -> Any:
    """The arguments, all in the widest of their floating-point types."""
    tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
    dtypes = {x.dtype for x in tensors if x.is_floating_point()}
    if len(dtypes) < 2:
        return args, kwargs
    widest = functools.reduce(torch.promote_types, dtypes)
    return tree_map(
        lambda x: x.to(widest) if isinstance(x, Tensor) and x.is_floating_point() else x,
        (args, kwargs),
    )


def efficient_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None = None,
    dropout: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
) -> Tensor:
    """The memory-efficient kernel: of torch's kernels the one that a bias with a gradient gets."""
    if mask is not None:
        if mask.dtype == torch.bool:
            mask = torch.zeros_like(mask, dtype=query.dtype).masked_fill(~mask, float("-inf"))
        if any(stride % ALIGNMENT for stride in mask.stride()[:-1]):
            missing = -mask.shape[-1] % ALIGNMENT
            mask = torch.nn.functional.pad(mask, (0, missing))[..., : mask.shape[-1]]
        mask = mask.expand(*query.shape[:3], key.shape[2])
    return torch.ops.aten._scaled_dot_product_efficient_attention(
        query, key, value, mask, torch.is_grad_enabled(), dropout, is_causal, scale=scale
    )[0]


def dropout(x: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """CUDA's own: one kernel, which keeps a byte a number."""
    return torch.native_dropout(x, p, True)[0] if training and 0.0 < p < 1.0 else x


@contextmanager
def pretended_gpu(dtype: torch.dtype | None) -> Iterator[PretendedGPU]:
    """The mode, with what models ask about autocast answered for the meta device."""
    gpu = PretendedGPU(dtype)
    asked, chosen, real = torch.is_autocast_enabled, torch.get_autocast_dtype, torch.autocast

    def is_on(device: str | None = None) -> bool:
        return gpu.dtype is not None if device == META else asked(*[device] if device else [])

    def which(device: str) -> torch.dtype:
        return gpu.dtype or torch.float32 if device == META else chosen(device)

    @contextmanager
    def autocast(device: str, dtype: torch.dtype | None = None, enabled: bool = True, **more: Any):
        if device != META:
            with real(device, dtype=dtype, enabled=enabled, **more):
                yield
            return
        before = gpu.dtype
        gpu.dtype = (dtype or before) if enabled else None
        try:
            yield
        finally:
            gpu.dtype = before

    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(torch, "is_autocast_enabled", is_on))
        stack.enter_context(mock.patch.object(torch, "get_autocast_dtype", which))
        stack.enter_context(mock.patch.object(torch, "autocast", autocast))
        stack.enter_context(gpu)
        yield gpu


def _ctc(log_probs: Tensor, targets: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
    frames, batch, _vocabulary = log_probs.shape
    # Losses, and the forward variable of 2 U + 1 states in each frame
    states = 2 * targets.shape[-1] + 1
    return log_probs.new_empty(batch), log_probs.new_empty(batch, frames, states)


def _ctc_backward(gradient: Tensor, log_probs: Tensor, *_: Any) -> Tensor:
    return torch.empty_like(log_probs)


def _dropout(x: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
    return torch.empty_like(x), torch.empty_like(x, dtype=torch.bool)


def _dropout_backward(gradient: Tensor, *_: Any) -> Tensor:
    return torch.empty_like(gradient)


_shapes = torch.library.Library("aten", "IMPL", "Meta")
_shapes.impl("_ctc_loss.Tensor", _ctc)
_shapes.impl("_ctc_loss_backward.Tensor", _ctc_backward)
_shapes.impl("native_dropout", _dropout)
_shapes.impl("native_dropout_backward", _dropout_backward)
