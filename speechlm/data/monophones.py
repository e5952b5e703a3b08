"""The phones that hidden units of text are made from: without stress and position.

A *phone* is a model id of `MONOPHONES`: 4 special ids, then `FOLDED_PHONES` (SIL, SPN, 39 phones).
The released text-to-unit model reads other symbols, `AUTHORS_PHONES`:

    symbol      in MONOPHONES   in text
    |           -               never: words follow each other without a mark
    <SIL>       SIL             at both ends, and between some words
    '           -               never: no pronunciation has it
    AA .. ZH    the same 39     phones of words
    (none)      SPN             a word without pronunciation: a line with one cannot be written
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from speechlm.conventions import EOS
from speechlm.data.language import ENGLISH
from speechlm.data.vocabulary import (
    FOLDED_PHONES,
    N_SPECIALS,
    PHONES,
    SILENCE,
    UnitVocabulary,
    folding_table,
)

MONOPHONES = UnitVocabulary(FOLDED_PHONES, "the built-in phones without stress and position")
N_PHONES = N_SPECIALS + len(MONOPHONES)
"""Rows of the text-to-unit model's phone embedding: there is no `<mask>`."""
_AUTHORS_SILENCE = "<SIL>"
AUTHORS_PHONES = UnitVocabulary(
    ("|", _AUTHORS_SILENCE, "'", *ENGLISH.phones), "the phones of the released text-to-unit model"
)
"""42 symbols, in the order of the released dictionary of phones."""


class Misfit(ValueError):
    """The units of an utterance and its alignment are not of the same length."""


def phone_of_label(symbols: Sequence[str] = PHONES) -> np.ndarray:
    """Phone of each label of a recogniser's inventory: int64 (len(symbols),); -1: no phone."""
    table = folding_table(symbols)
    return np.where(table < 0, -1, table + N_SPECIALS)


def phone_of_unit(phones: UnitVocabulary = MONOPHONES) -> np.ndarray:
    """Model id in `phones` of each model id of `UnitVocabulary.phones()`: int64 (369,).

    EOS for EOS; -1 for what is no phone, or has no symbol in `phones`.

    Args:
        phones: `MONOPHONES` or `AUTHORS_PHONES`.
    """
    ids = {symbol: n for n, symbol in enumerate(phones.symbols, N_SPECIALS)}
    ids.setdefault(SILENCE, ids.get(_AUTHORS_SILENCE, -1))
    of_folded = np.array([ids.get(name, -1) for name in FOLDED_PHONES])
    folded = folding_table()
    table = np.full(UnitVocabulary.phones().n_ids, -1, np.int64)
    table[N_SPECIALS : N_SPECIALS + len(PHONES)] = np.where(folded < 0, -1, of_folded[folded])
    table[EOS] = EOS
    return table


def with_durations(
    labels: np.ndarray, table: np.ndarray, n_units: int, factor: int
) -> tuple[np.ndarray, np.ndarray]:
    """Phones of aligned labels, and how many units each of them has.

    Unit u sees the same samples as label factor x u, so it belongs to the phone of that label: a
    phone with labels a .. b - 1 has the units ceil(a / factor) .. ceil(b / factor) - 1. Rounding
    places and not lengths, the durations add up to the number of units; the last phone takes what
    the two numbers differ by. A phone shorter than `factor` labels may have no unit.

    Args:
        labels: (L,) one for each frame of the alignment; a run of equal ones is one phone.
        table: phone of each label (`phone_of_label`).
        n_units: units of the utterance.
        factor: labels a unit.

    Returns:
        (P,) phones and (P,) durations, int64.

    Raises:
        Misfit: more than one unit too few or too many.
        ValueError: labels that are no phones.
    """
    expected = -(-len(labels) // factor)
    if abs(expected - n_units) > 1:
        raise Misfit(
            f"{len(labels)} labels of the alignment make {expected} units, found {n_units}"
        )
    starts = np.flatnonzero(np.diff(labels, prepend=-1))
    runs = labels[starts]
    if len(runs) and not (runs.min() >= 0 and runs.max() < len(table)):
        raise ValueError(f"labels 0 to {len(table) - 1} expected, found {runs.max()}")
    phones = table[runs]
    if (phones < 0).any():
        raise ValueError(f"label {runs[phones < 0][0]} of the alignment is no phone")
    places = np.append(np.minimum(-(-starts // factor), n_units), n_units)
    return phones, np.diff(places)
