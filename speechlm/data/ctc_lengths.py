"""How many frames CTC needs to write a transcript, and which transcripts their audio cannot hold.

CTC puts at most one label on a frame, and a blank between two equal labels that follow each other:

    labels   H E L L O |        frames   H E L _ L O |        6 labels, 1 equal pair: 7 frames

A frame is an output of the CTC head, of which a fast model of 40 ms has two a frame of its own:
`SpeechLMConfig.ctc_framing`. With fewer no alignment exists. Such a pair of audio and transcript is
nearly always wrong (a transcript of other audio, or audio that was cut), and a loss that counts it
as 0 looks perfect.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping

import numpy as np

from speechlm.conventions import Framing

TOO_LONG = "transcript too long for its audio"
"""How reports call it."""


def frames_needed(ids: np.ndarray) -> int:
    """The fewest frames in which CTC can write labels (U,): U, and one for each equal pair."""
    return len(ids) + int((ids[1:] == ids[:-1]).sum())


def frames_for_letters(sentence: str) -> int:
    """The fewest frames in which CTC can write a sentence's letters, a word end after each word."""
    words = sentence.split()
    pairs = sum(sum(map(operator.eq, word, word[1:])) for word in words)
    return sum(map(len, words)) + len(words) + pairs


def why_too_long(sentence: str, n_samples: int, framing: Framing) -> str:
    """`24 frames, 77 needed` if the letters of a sentence do not fit into its audio, else ''."""
    frames = framing.frames(n_samples)
    if frames >= 2 * len(sentence):  # a pair, or the end of a word, for each letter at most
        return ""
    needed = frames_for_letters(sentence)
    return f"{frames} frames, {needed} needed" if frames < needed else ""


def too_long(
    text: Mapping[str, str], samples: Mapping[str, int], framing: Framing
) -> dict[str, str]:
    """The utterances whose transcripts are too long for their audio: {id: `24 frames, 77 needed`}.

    Args:
        text: transcripts by id, written in letters.
        samples: samples of the audio by id.
        framing: of the CTC outputs of the model that reads the audio.
    """
    found = ((u, why_too_long(text[u], samples[u], framing)) for u in text)
    return {utterance: why for utterance, why in found if why}
