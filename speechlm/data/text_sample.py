"""A part of a text corpus, drawn at random."""

from __future__ import annotations

import os

import numpy as np

from speechlm.data.atomic import output_file
from speechlm.data.permutation import permute
from speechlm.data.text_corpus import TextCorpus

_BLOCK = 8192
"""Lines whose numbers are in memory at a time."""
_DRAW = 0
"""Passes of a training draw by 1, 2, ... behind the seed."""


def sample_text(
    source: str | os.PathLike[str], output: str | os.PathLike[str], n_lines: int, seed: int
) -> int:
    """Write the first lines of a text's random order, which the seed gives.

    Fewer lines of the same seed are among more of them. No more than some lines are in memory.

    Args:
        source: the text, a sentence a line.
        output: file to write.
        n_lines: how many.
        seed: of the order.

    Returns:
        The number of lines of the source.

    Raises:
        ValueError: the text has fewer lines, or none is wanted.
    """
    corpus = TextCorpus(source)
    if not 1 <= n_lines <= len(corpus):
        raise ValueError(
            f"{source} has {len(corpus)} lines: a number from 1 to {len(corpus)} expected, "
            f"got {n_lines}"
        )
    with output_file(output) as temporary, open(temporary, "w", encoding="utf-8") as file:
        for start in range(0, n_lines, _BLOCK):
            places = np.arange(start, min(start + _BLOCK, n_lines))
            numbers = permute(places, len(corpus), [seed, _DRAW])
            file.writelines(f"{line}\n" for line in corpus.lines(numbers))
    return len(corpus)
