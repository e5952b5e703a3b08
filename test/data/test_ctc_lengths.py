"""Frames that CTC needs, compared with CTC itself, and transcripts that their audio cannot hold."""

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from speechlm.conventions import PAPER_FRAMING, Framing
from speechlm.data.ctc_lengths import frames_for_letters, frames_needed, too_long, why_too_long
from speechlm.data.vocabulary import CharacterVocabulary


def is_possible(ids: np.ndarray, frames: int) -> bool:
    """Whether torch's CTC finds an alignment."""
    log_probs = torch.zeros(frames, 1, 40).log_softmax(-1)
    lengths = torch.tensor([frames]), torch.tensor([len(ids)])
    return bool(torch.isfinite(F.ctc_loss(log_probs, torch.from_numpy(ids)[None], *lengths)))


@pytest.mark.parametrize("ids", itertools.product([1, 2], repeat=4))
def test_so_many_frames_are_enough_and_no_fewer(ids):
    labels = np.array(ids)
    needed = frames_needed(labels)
    assert is_possible(labels, needed) and not is_possible(labels, needed - 1)


@pytest.mark.parametrize("sentence", ["HELLO", "A BEE  SEES ALL", "SHEE EE", " AARDVARK ", ""])
def test_letters_are_those_of_the_vocabulary(sentence):
    assert frames_for_letters(sentence) == frames_needed(CharacterVocabulary().encode(sentence))


def test_other_letters_count_as_well():
    assert frames_for_letters("Übermut tut gut") == 16 and frames_for_letters("Schiff") == 8


def test_frames_are_those_of_the_front_end():
    text, samples = {"a": "HELLO", "b": "HELLO"}, {"a": 400 + 6 * 320, "b": 400 + 6 * 320 - 1}
    assert too_long(text, samples, PAPER_FRAMING) == {"b": "6 frames, 7 needed"}
    assert why_too_long("HELLO", 400 + 6 * 320, Framing(400, 640)) == "4 frames, 7 needed"
    assert why_too_long("A", 0, PAPER_FRAMING) == "0 frames, 2 needed"
    assert why_too_long("", 0, PAPER_FRAMING) == ""
