"""Checks of weights that come from files, before a network takes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

from speechlm.conventions import PAD

_Network = TypeVar("_Network", bound=nn.Module)
_FEW = 10_000_000  # numbers for which memory may be taken in vain


def check_table(table: Tensor | None, source: str) -> Tensor:
    """A translation decoder's table of symbols.

    Raises:
        ValueError: it is missing or no table.
    """
    if table is None or table.dim() != 2 or len(table) <= PAD:
        found = "it is missing" if table is None else f"its shape is {tuple(table.shape)}"
        raise ValueError(
            f"{source}: decoder.embed_tokens.weight, a table of the target symbols, expected, "
            f"but {found}"
        )
    return table


def check_numbers(weights: Mapping[str, Tensor], source: str) -> None:
    """Make sure that weights are finite floating-point numbers.

    Raises:
        ValueError: some are not; they are named.
    """
    odd = [f"{n} ({w.dtype})" for n, w in weights.items() if not w.is_floating_point()]
    if odd:
        raise ValueError(
            f"{source}: floating-point weights expected, found {len(odd)} others: "
            f"{', '.join(odd[:5])}; import the checkpoint that they were converted from"
        )
    odd = [name for name, weight in weights.items() if not weight.isfinite().all()]
    if odd:
        raise ValueError(
            f"{source}: {len(odd)} weights hold numbers that are not finite: "
            f"{', '.join(odd[:5])}; its training has diverged or the file is damaged: take another"
        )


def check_names(
    missing: Sequence[str],
    unknown: Sequence[str],
    shapes: Mapping[str, tuple[Sequence[int], Sequence[int]]],
    source: str,
) -> None:
    """Make sure that a file has the weights that a network needs, and no others.

    Args:
        missing: names that the network has and the file lacks.
        unknown: names that the file has and the network lacks.
        shapes: by name, (the shape that is there, the shape that is expected).
        source: the file, for messages.

    Raises:
        ValueError: weights are missing, unknown, or differ in shape; they are named.
    """
    wrong = [
        f"{name} {tuple(there)} where {tuple(expected)} is expected"
        for name, (there, expected) in shapes.items()
        if tuple(there) != tuple(expected)
    ]
    parts = (("missing", missing), ("not of this model", unknown), ("of another shape", wrong))
    what = "; ".join(f"{len(n)} {w}: {', '.join(list(n)[:5])}" for w, n in parts if n)
    if what:
        raise ValueError(
            f"{source} does not fit the model of its configuration ({what}); "
            "both must be of one training, and whole"
        )


def build_for(
    build: Callable[[], _Network], layers: int, weights: Mapping[str, Tensor], source: str
) -> _Network:
    """Build a network for a file's weights.

    A configuration of far more numbers than the file has is refused before memory is taken for
    them. What fits badly, but can be held, is for `check_names` to say.

    Args:
        build: makes the network.
        layers: how many it has.
        weights: of the file, by the network's names.
        source: the file, for messages.

    Raises:
        ValueError: there are far more, or no network has such sizes.
    """
    if layers > len(weights):
        raise ValueError(f"{source}: its configuration has {layers} layers, its weights are fewer")
    try:
        with torch.device("meta"):
            wanted = sum(weight.numel() for weight in build().state_dict().values())
    except (RuntimeError, TypeError, OverflowError) as error:  # sizes beyond 64 bits
        reason = str(error).splitlines()[0]
        raise ValueError(f"{source}: no network has its configuration ({reason})") from None
    there = sum(weight.numel() for weight in weights.values())
    if wanted > 2 * there + _FEW:
        raise ValueError(
            f"{source} does not fit the model of its configuration, which has {wanted} numbers; "
            f"{there} are there; both must be of one training, and whole"
        )
    return build()
