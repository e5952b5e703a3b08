"""HMM topology of the phone recogniser.

Two views of the same phones:

- *output phones*: the word-position-dependent phones with stress (`vocabulary.PHONES`, in English
  364; numbers in shapes are those of English);
- *classes*: what the Gaussian model tells apart: silence (number 0), the language's phones, noise,
  and, where pronunciations have stress, the unstressed vowels that occur often enough in the
  training transcripts to have states of their own (`phone_classes` decides). Word position is
  always shared.

Noise is what a word without pronunciation is made of, whatever sounds that are: its Gaussians are
the broadest. In alignments and in what is decoded it is the word `UNKNOWN`, a word of the one phone
SPN_S, as in text.

State `k` of class `c` is column `3 * c + k` of every emission matrix. All frames are 10 ms.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from speechlm.data.language import LANGUAGE
from speechlm.data.vocabulary import FOLDED_PHONES, NOISE, PHONES, add_positions, phone_id

SILENCE, GARBAGE = "SIL", "SPN"
N_STATES = 3
BASE_PHONES = (SILENCE, *(p for p in FOLDED_PHONES if p not in (SILENCE, GARBAGE)), GARBAGE)
REDUCED = tuple(f"{vowel}0" for vowel in LANGUAGE.stressed)
CLASSES = (*BASE_PHONES, *REDUCED)
N_PDFS = N_STATES * len(CLASSES)
SILENCE_ID, NOISE_ID = phone_id[SILENCE], phone_id[NOISE]
UNKNOWN = "<unk>"
"""The word that stands for all without a pronunciation; ARPA files call it so."""


def base_phone(phone: str) -> str:
    """`AH0_B` -> `AH`, `SIL_E` -> `SIL`."""
    name = phone.split("_")[0]
    return name if name in (SILENCE, GARBAGE) else name.rstrip("012")


def _base_table() -> np.ndarray:
    index = {phone: number for number, phone in enumerate(BASE_PHONES)}
    return np.array([index.get(base_phone(phone), -1) for phone in PHONES], dtype=np.int64)


BASE_OF_PHONE = _base_table()
"""Base-phone number of each output phone; -1 for `<eps>` and disambiguation symbols."""


def phone_classes(counts: np.ndarray, enough: int = 100) -> np.ndarray:
    """Class of each output phone (364,), from how often each occurs in the transcripts (364,).

    An unstressed vowel that occurs at least `enough` times gets its own class; else it shares
    the stressed one's. Entries that are no phone are -1.
    """
    table = BASE_OF_PHONE.copy()
    for number, vowel in enumerate(REDUCED, len(BASE_PHONES)):
        members = [i for i, phone in enumerate(PHONES) if phone.split("_")[0] == vowel]
        if counts[members].sum() >= enough:
            table[members] = number
    return table


def stress_of(phone: str) -> str:
    """Stress digit of an output phone, or an empty string."""
    name = phone.split("_")[0]
    return name[-1] if name[-1:].isdigit() and not name.startswith("#") else ""


def position_of(phone: str) -> str:
    """Word position `B`, `I`, `E` or `S`, or an empty string."""
    return phone.split("_")[1] if "_" in phone else ""


def positioned(phones: Sequence[str]) -> tuple[int, ...]:
    """Output-phone ids of one pronunciation (phones with stress, no position marks)."""
    return tuple(phone_id[phone] for phone in add_positions(phones))
