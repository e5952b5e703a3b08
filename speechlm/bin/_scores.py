"""Options that name results: a system, a decoder, a test set and the folder of their scores."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from speechlm.bin._cli import fields

if TYPE_CHECKING:
    from speechlm.score.recognition_report import Scored

_FORM = "SYSTEM[:DECODER]:SET:DIR"


def add_scores(options: argparse.ArgumentParser, more: str = "", **how: Any) -> None:
    """Add --scores.

    Args:
        options: to add to.
        more: what its help says besides.
        how: further arguments of `add_argument`.
    """
    options.add_argument(
        "--scores",
        nargs="+",
        action="extend",
        metavar=_FORM,
        help="names of a system, of its decoder and of a test set, and the folder that `score` or "
        f"`score_st` wrote{more}",
        **how,
    )


def read_scores(items: list[str]) -> list[Scored]:
    """Results by the values of --scores; whether there is a decoder is known by the folder.

    Raises:
        ValueError: a value is of another form.
    """
    from speechlm.score.recognition_report import Scored

    return [Scored(*_parts(item)) for item in items]


def _parts(item: str) -> list[str]:
    if item.count(":") > 2:
        parts = fields(item, "SYSTEM:DECODER:SET:DIR")
        if Path(parts[-1]).is_dir():
            return parts
    system, test, folder = fields(item, "SYSTEM:SET:DIR")
    if item.count(":") > 2 and not Path(folder).is_dir():
        raise ValueError(f"{_FORM} expected, got {item!r}: there is no folder {parts[-1]}")
    return [system, "", test, folder]
