"""What a run on the meta device would have a GPU do: kernels, bytes, operations, waits, memory."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry
from torch.utils.module_tracker import ModuleTracker

KINDS = {
    "convolution": "convolutions",
    "convolution_backward": "convolutions",
    "_scaled_dot_product_efficient_attention": "attention kernel",
    "_scaled_dot_product_efficient_attention_backward": "attention kernel",
    "relative_attention": "attention kernel",
    "relative_attention_queries": "attention kernel",
    "relative_attention_keys": "attention kernel",
    **dict.fromkeys(("mm", "addmm", "addmm_", "bmm", "baddbmm", "baddbmm_"), "products"),
    **dict.fromkeys(
        ("_to_copy", "clone", "copy_", "_foreach_copy_", "cat", "constant_pad_nd"),
        "copies and casts",
    ),
    **dict.fromkeys(
        (
            "native_layer_norm",
            "native_layer_norm_backward",
            "native_group_norm",
            "native_group_norm_backward",
            "add_norm",
            "add_norm_backward",
        ),
        "norms",
    ),
}
OTHER = "other elementwise, sums, draws"
LISTS = ("_foreach_", "_fused_")
"""How operations on lists of tensors begin; such a kernel takes so many tensors and chunks:"""
LIST_TENSORS, LIST_BLOCKS, CHUNK = (110, 64, 48, 36, 30), 320, 65536
"""By the number of lists, of which kernels of optimisers have 36; torch's MultiTensorApply.cuh."""

# Kernels of an operation that is more than one, as far as torch's CUDA code has them apart.
SEVERAL = {
    "convolution_backward": 2,  # of inputs and of weights
    "_scaled_dot_product_efficient_attention_backward": 2,
    "native_layer_norm_backward": 2,  # of inputs, and of weight and bias
    "native_group_norm": 2,
    "native_group_norm_backward": 3,
    "sort": 4,
    "argsort": 4,
    "nonzero": 3,
    "_ctc_loss": 2,
    "_ctc_loss_backward": 2,
}
IN_PLACE = {"addmm_", "baddbmm_"}
"""Products that are added to what is there: torch counts those that are not in place."""
NO_KERNEL = {"empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided"}
NO_KERNEL |= {"detach", "_unsafe_view", "lift_fresh", "resize_", "set_"}
WRITTEN_ONLY = {"copy_", "fill_", "zero_", "bernoulli_", "uniform_", "normal_", "random_"}
"""They do not read what they write into."""
PICKED = {"embedding", "index_select", "gather", "index"}
"""They read as much of their first argument as they write."""
WAITS = {"_local_scalar_dense", "nonzero"}
"""The host waits for their results."""


@dataclass(frozen=True)
class Call:
    """An operation that launches kernels."""

    part: str
    """Of the model; "" outside of all modules."""
    name: str
    kernels: int
    read: float
    written: float
    """Bytes that go to and from memory, each number once."""
    flop: float

    @property
    def kind(self) -> str:
        """Which sort of kernel."""
        return KINDS.get(self.name, OTHER)


class _Tracker(ModuleTracker):
    """Which modules are running; of one that takes several tensors the first says when it ends.

    A table that all layers share has its gradient only when the last layer is done.
    """

    def _fw_pre_hook(self, mod: Any, input: Any) -> None:
        super()._fw_pre_hook(mod, input[:1])


class Trace(TorchDispatchMode):
    """Notes every operation on meta tensors while it is entered.

    Args:
        part_of: name of the part for the names of the modules that are running.
    """

    def __init__(self, part_of: Callable[[set[str]], str]):
        super().__init__()
        self.part_of = part_of
        self.calls: list[Call] = []
        self.waits = 0
        self.bytes_now = self.peak_bytes = 0
        self._tracker = _Tracker()
        self._seen: set[int] = set()

    def __enter__(self) -> Trace:
        self._tracker.__enter__()
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._tracker.__exit__(*error)

    def known(self, tensors: Any) -> None:
        """Do not count the memory of these, which was there before."""
        self._seen.update(id(tensor.untyped_storage()) for tensor in tensors)

    def __torch_dispatch__(
        self, operation: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        name = operation.overloadpacket.__name__
        if not _on_meta(args, kwargs):
            return operation(*args, **kwargs)
        self.waits += name in WAITS or _copies_and_waits(name, args, kwargs)
        if name == "_ctc_loss":  # copies its two tensors of lengths to the host
            self.waits += sum(lengths.device.type == "meta" for lengths in args[2:4])
        if name == "nonzero":
            found = args[0].numel() // 2  # nobody knows here
            result = args[0].new_empty((found, args[0].dim()), dtype=torch.int64)
        elif name == "_local_scalar_dense":
            return 1
        elif name == "_to_copy" and str(kwargs.get("device")) == "cpu":
            return torch.ones(args[0].shape, dtype=kwargs.get("dtype"))
        elif name == "copy_" and args[0].device.type == "cpu":
            return args[0]
        else:
            result = operation(*args, **kwargs)
        if not operation.is_view and name not in NO_KERNEL:
            self._note(operation, name, args, kwargs, result)
        self._remember(result)
        return result

    def _note(self, operation: Any, name: str, args: Any, kwargs: Any, result: Any) -> None:
        inputs = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        outputs = [x for x in tree_leaves(result) if isinstance(x, Tensor)]
        if "out" in kwargs:  # written, not read
            inputs = [x for x in inputs if x is not kwargs["out"]]
        kernels = SEVERAL.get(name, 1)
        if name.startswith(LISTS):
            inputs, outputs, kernels = of_lists(name, args, kwargs, outputs)
        if operation.namespace == "speechlm":  # our operations do not read where they write
            places = operation._schema.arguments
            filled = [x for x, a in zip(args, places, strict=True) if a.is_write]
            inputs = [x for x in inputs if not any(x is place for place in filled)]
            outputs += filled
        written = float(sum(map(size_of, outputs)))
        if written == 0:
            return
        if name in WRITTEN_ONLY:
            inputs = inputs[1:]
        read = float(sum(map(size_of, inputs)))
        if name in PICKED:
            read = float(sum(map(size_of, inputs[1:]))) + written
        flop = _operations(operation, name, args, kwargs, result)
        part = self.part_of(self._tracker.parents)
        self.calls.append(Call(part, name, kernels, read, written, flop))

    def _remember(self, result: Any) -> None:
        """Keep account of the memory behind the results, until torch lets go of it."""
        for tensor in tree_leaves(result):
            if not isinstance(tensor, Tensor) or tensor.device.type != "meta":
                continue
            storage = tensor.untyped_storage()
            if id(storage) in self._seen:
                continue
            self._seen.add(id(storage))
            self.bytes_now += storage.nbytes()
            self.peak_bytes = max(self.peak_bytes, self.bytes_now)
            weakref.finalize(storage, self._forget, id(storage), storage.nbytes())

    def _forget(self, key: int, size: int) -> None:
        self._seen.discard(key)
        self.bytes_now -= size


def of_lists(
    name: str, args: Any, kwargs: Any, outputs: list[Tensor]
) -> tuple[list[Tensor], list[Tensor], int]:
    """What an operation on lists of tensors reads and writes, and its kernels.

    Args:
        name: of torch's operation.
        args, kwargs: its arguments, the list that is written into first.
        outputs: tensors that it returns.
    """
    given = [x for x in (*args, *kwargs.values()) if isinstance(x, list | tuple) and len(x)]
    lists: list[list[Tensor]] = [list(x) for x in given if all(isinstance(y, Tensor) for y in x)]
    if name.startswith("_fused_"):  # parameters, gradients, two moments; numbers of steps
        return sum(lists[:4], []), lists[0] + lists[2] + lists[3], launches(lists[0], 4)
    if any(
        x.stride() != y.stride()
        for other in lists[1:]
        for x, y in zip(lists[0], other, strict=True)
    ):
        return sum(lists[1:], []), lists[0], len(lists[0])  # torch takes them one by one
    inputs = lists[1:] if name == "_foreach_copy_" else lists
    if name == "_foreach_norm":  # and one that adds up what the blocks have found
        return lists[0], outputs, launches(lists[0], 1) + 1
    written = lists[0] if name.endswith("_") else outputs
    depth = len(lists) + (not name.endswith("_"))
    return sum(inputs, []), written, launches(lists[0], depth)


def launches(tensors: list[Tensor], depth: int) -> int:
    """Kernels for a list of tensors beside depth - 1 lists like it: each has limited room."""
    count = blocks = held = 0
    for tensor in tensors:
        full, blocks = divmod(blocks - (-tensor.numel() // CHUNK), LIST_BLOCKS)
        # What is left of the last tensor opens the next kernel
        held = int(blocks > 0) if full else held + 1
        if held == LIST_TENSORS[depth - 1]:
            full, blocks, held = full + 1, 0, 0
        count += full
    return count + (blocks > 0)


def _operations(operation: Any, name: str, args: Any, kwargs: Any, result: Any) -> float:
    if name == "convolution_backward":  # torch's own count takes groups for one group
        d_y, _, weight, *_, wanted = args
        # As many as forward for each of the two: a product for each weight and output frame
        frames = d_y.numel() // d_y.shape[1]
        return 2.0 * weight.numel() * frames * sum(wanted[:2])
    if name in IN_PLACE:
        operation = getattr(torch.ops.aten, name.removesuffix("_")).default
    count = flop_registry.get(operation.overloadpacket)
    return float(count(*args, **kwargs, out_val=result)) if count else 0.0


def _copies_and_waits(name: str, args: Any, kwargs: Any) -> bool:
    """Whether it copies between host and GPU, and the host is held up until that is done."""
    if name == "_to_copy":
        source, target = args[0].device.type, str(kwargs.get("device") or args[0].device.type)
    elif name == "copy_":
        target, source = (x.device.type for x in args[:2])
    elif name in ("index", "index_put_", "index_put"):  # places that the host knows
        own = [x for x in args[1] if x is not None]
        return args[0].device.type == "meta" and any(x.device.type != "meta" for x in own)
    else:
        return False
    waits = "cpu" in (source, target) and source != target
    to_gpu = source == "cpu" and bool(kwargs.get("non_blocking") or args[2:3] == (True,))
    return waits and not to_gpu


def _on_meta(args: Any, kwargs: Any) -> bool:
    tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
    asked = kwargs.get("device")
    return any(x.device.type == "meta" for x in tensors) or str(asked) == "meta"


def size_of(tensor: Tensor) -> int:
    """Bytes of the numbers that a tensor has in memory: one that is repeated counts once."""
    count = 1
    for size, stride in zip(tensor.shape, tensor.stride(), strict=True):
        count *= size if stride or size == 0 else 1
    return count * tensor.element_size()
