"""What computes a definition fast, on CPUs or on GPUs.

Everything here has a plain twin: the same definition in torch's own operations, which runs on
every device, and which a reader should look at first. `KERNELS` says for each kernel what it
computes, where its plain twin is, which test compares the two, and what it gains. `fast` decides
between the two; models call it where the ways part:

    if fast("attention", query):
        return blocked_relative_attention(...)  # blocks of queries, in the cache
    return plain_relative_attention(...)

Each kernel is for one sort of device. On others its plain twin runs, and so it does in graphs that
are compiled or exported, inside `plain()`, and in the whole process where the environment has
`SPEECHLM_PLAIN=all` (or the names of some kernels, between blanks or commas):

    with kernels.plain():                  # no kernel
    with kernels.plain("attention"):       # all but this one

Those in Triton (`asked_for`) are off unless the environment has `SPEECHLM_TRITON=1`, as they have
not run on a GPU yet. Triton's interpreter (`TRITON_INTERPRET=1`) runs them on a CPU, for tests.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

VARIABLE = "SPEECHLM_PLAIN"
"""Environment variable that names the kernels to do without."""
TRITON_VARIABLE = "SPEECHLM_TRITON"
"""Environment variable that is 1 where GPUs take the kernels in Triton."""


@dataclass(frozen=True)
class Kernel:
    """One row of the table."""

    definition: str
    """What is computed."""
    twin: str
    """Function or class that computes the same with torch's own operations."""
    test: str
    """Test that compares the two."""
    gain: str
    """What a Base training step takes longer without the kernel, in per cent of its time, float32 /
    bfloat16 (doc/speed.md: how it was measured); where time is not the aim, what is. Of kernels for
    GPUs, what a step moves or launches more, as it was counted."""
    devices: tuple[str, ...] = ("cpu",)
    """Where it runs."""
    asked_for: bool = False
    """Whether it is off unless `SPEECHLM_TRITON` asks for it."""


GPUS = ("cuda", "meta")
"""GPUs, and tensors without numbers, which take a GPU's way."""

KERNELS = {
    "attention": Kernel(
        "softmax(q . k + q . e_(i-j)) v over all keys, with dropout of the weights",
        "models.relative_attention.plain_relative_attention",
        "models/test_relative_attention",
        "24.3 / 49.6, and more than half of what is kept for the backward pass",
    ),
    "front_end": Kernel(
        "convolution, norm, GELU, layer after layer, of a waveform",
        "models.front_end.ConvolutionalFrontEnd.by_blocks",
        "models/test_front_end",
        "2.1 / 3.1; peak memory 5.7 -> 3.9 GiB (float32)",
    ),
    "position": Kernel(
        "grouped convolution of 128 taps, the position embedding",
        "torch.nn.functional.conv1d",
        "kernels/test_tiled_convolution",
        "3.8 / 11.5",
    ),
    "products": Kernel(
        "rows . weight^T + bias, and its gradients",
        "torch.nn.functional.linear",
        "kernels/test_products",
        "2.5 / 3.1",
    ),
    "gelu": Kernel(
        "linear(gelu(x)) that keeps x alone for the backward pass",
        "torch.nn.functional.linear of torch.nn.functional.gelu",
        "kernels/test_products",
        "4.0 / -1.7; a sixth of what is kept for the backward pass",
    ),
    "dropout": Kernel(
        "zeros with probability p, the rest scaled by 1 / (1 - p)",
        "torch.nn.functional.dropout",
        "kernels/test_dropout",
        "4.5 / 2.3",
    ),
    "tiles": Kernel(
        "convolutions of 9 taps of a frozen text-to-unit model",
        "torch.nn.Conv1d",
        "kernels/test_tiled_convolution",
        "none of a step: it makes hidden units of text",
    ),
    "taps": Kernel(
        "depthwise convolution over time",
        "torch.nn.functional.conv2d",
        "models/test_fast_transformer",
        "alone, torch's takes 0.35 / 1.5 times as long; in float32 it is there to keep the bits",
    ),
    "channels_last": Kernel(
        "as `front_end`, of images whose channels lie side by side",
        "models.front_end.ConvolutionalFrontEnd.by_blocks",
        "kernels/test_channels_last",
        "counted, not timed (doc/speed.md)",
        GPUS,
    ),
    "first_block": Kernel(
        "of `channels_last` the first convolution with its group norm and GELU: in Triton",
        "kernels.channels_last.first_convolution",
        "kernels/test_gpu_first_block",
        "counted, not timed: it has not run on a GPU (doc/speed.md)",
        GPUS,
        asked_for=True,
    ),
    "losses": Kernel(
        "cross entropies of masked prediction at both depths, and the penalty of the features",
        "models.losses.predict_units",
        "kernels/test_gpu_losses",
        "counted, not timed (doc/speed.md)",
        GPUS,
    ),
    "frames": Kernel(
        "frames that are masked or swapped, rows of an embedding",
        "models.masked_input.mask_frames",
        "kernels/test_gpu_frames",
        "counted, not timed (doc/speed.md)",
        GPUS,
    ),
    "layers": Kernel(
        "layers of a Transformer in autocast's type throughout, weights cast by one kernel",
        "torch.autocast",
        "kernels/test_low_layers",
        "counted, not timed (doc/speed.md)",
        GPUS,
    ),
    "fused_layers": Kernel(
        "layers of a Transformer: all that is between two products is one kernel, in Triton; so is "
        "relative attention, with lengths and dropout inside",
        "models.transformer.TransformerLayer.forward",
        "kernels/test_fused_layers",
        "counted, not timed: it has not run on a GPU (doc/speed.md)",
        GPUS,
        asked_for=True,
    ),
}


def fast(name: str, x: Tensor) -> bool:
    """Whether the kernel of that name is to be used for x; else its plain twin is.

    Graphs that torch.compile and torch.export make are of the plain twins.
    """
    row = KERNELS[name]
    devices = row.devices
    if row.asked_for:
        interpreted = os.environ.get("TRITON_INTERPRET") == "1"
        devices = (*devices, "cpu") if interpreted else devices
    chosen = x.device.type in devices and name not in _plain and (_triton or not row.asked_for)
    return chosen and not torch.compiler.is_compiling()


@contextmanager
def triton() -> Iterator[None]:
    """Kernels that are `asked_for`, until the block ends, for the whole process."""
    global _triton
    before, _triton = _triton, True
    try:
        yield
    finally:
        _triton = before


@contextmanager
def plain(*names: str) -> Iterator[None]:
    """Plain twins in place of the kernels of these names, or of all where none is named.

    For the whole process, until the block ends; a backward pass belongs into the same block.

    Raises:
        ValueError: there is no kernel of that name.
    """
    global _plain
    before = _plain
    _plain = before | _known(names or KERNELS, "kernels.plain")
    try:
        yield
    finally:
        _plain = before


def _known(names: Iterable[str], source: str) -> frozenset[str]:
    unknown = [name for name in names if name not in KERNELS]
    if unknown:
        raise ValueError(
            f"{source}: no kernel is called {', '.join(unknown)}; there are {', '.join(KERNELS)}"
        )
    return frozenset(names)


def _from_environment(value: str) -> frozenset[str]:
    names = value.replace(",", " ").split()
    return _known(KERNELS if "all" in names else names, VARIABLE)


def _triton_from_environment(value: str) -> bool:
    if value not in ("", "0", "1"):
        raise ValueError(
            f"{TRITON_VARIABLE}: 1 takes the kernels in Triton on GPUs, 0 or nothing does not; "
            f"got {value!r}"
        )
    return value == "1"


_plain = _from_environment(os.environ.get(VARIABLE, ""))
_triton = _triton_from_environment(os.environ.get(TRITON_VARIABLE, ""))
