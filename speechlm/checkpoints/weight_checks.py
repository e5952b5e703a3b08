"""Checks of weights that come from files, before a network takes them."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from speechlm.conventions import PAD


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
