"""Word models as flashlight's search asks them: KenLM's n-grams, and neural models.

A history is the words of a hypothesis so far, as indices. V tokens of a model, N histories.
"""

from __future__ import annotations

import math
import os
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
from flashlight.lib.text.decoder import LM, DecodeResult, LexiconDecoder, LMState
from flashlight.lib.text.decoder.kenlm import KenLM
from flashlight.lib.text.dictionary import Dictionary
from torch import Tensor

from speechlm.lm.ngram_scores import NgramLM

History = tuple[int, ...]

_ROW_NUMBERS = 1 << 25
"""Scores (float32) of all words that a fused model keeps: 128 MiB."""
_BATCH_NUMBERS = 1 << 24
"""Scores of all words that are computed at once."""


class WordModel(Protocol):
    """A neural model of words, asked word by word (`speechlm.tasks.lm_scores.NeuralLM`)."""

    @property
    def end(self) -> int:
        """Id of the end of a sentence."""

    def word_ids(self, words: Sequence[str]) -> np.ndarray:
        """Ids of words."""

    def unknown_words(self, sentences: Sequence[str]) -> int:
        """How many words of the sentences it does not know."""

    def start(self) -> Any:
        """The state at the beginning of a sentence."""

    def step(self, states: Sequence[Any], words: Sequence[int]) -> Sequence[Any]:
        """The states after one more word each."""

    def log_probs(self, states: Sequence[Any]) -> Tensor:
        """(N, V) natural log-probabilities of what comes after N states."""


def load_word_model(
    lm: str | os.PathLike[str] | WordModel, words: Sequence[str]
) -> tuple[LM, list[str]]:
    """A word model for flashlight.

    Args:
        lm: ARPA file, plain or .gz, or KenLM's binary; or a neural model.
        words: those that are searched for.

    Returns:
        The model, whose scores are log10, and those of the words that it has: their places in the
        list are its indices.

    Raises:
        ValueError: the file is damaged or something else, or the model has none of the words.
    """
    # A file is read twice, as flashlight's binding says nothing of the words, and takes those that
    # it lacks for <unk>. The first model is freed before the second is read.
    if isinstance(lm, str | os.PathLike):
        known = _known(NgramLM(lm), words, os.fspath(lm))
        return KenLM(os.fspath(lm), Dictionary(known)), known
    known = _known(lm, words, "the neural model")
    return FusedLM(lm, known), known


def _known(model: NgramLM | WordModel, words: Sequence[str], name: str) -> list[str]:
    """Those of the words that a model has."""
    known = [word for word in words if not model.unknown_words([word])]
    if not known:
        raise ValueError(
            f"{name} has none of the {len(words)} words of the lexicon, such as "
            f"{' '.join(words[:5])}; a model of these words expected, in the same case"
        )
    return known


def history_of(result: DecodeResult) -> History:
    """The words of a hypothesis."""
    return tuple(index for index in result.words if index >= 0)


class FusedLM(LM):
    """A neural model as flashlight asks it: one history and one word at a time; scores are log10.

    Where a history has not been computed, all those that the beam holds are, as one batch. Scores
    that were asked for once are kept, for an utterance.

    Args:
        model: the model.
        words: those that are searched for; their places in the list are the indices.
    """

    def __init__(self, model: WordModel, words: Sequence[str]) -> None:
        super().__init__()
        self._beam: Callable[[], Sequence[DecodeResult]] = tuple
        self._model = model
        # index -1 is the end of a sentence
        self._ids = np.append(model.word_ids(words), model.end)
        self._most_rows = max(1, _ROW_NUMBERS // len(self._ids))
        self._batch = max(1, _BATCH_NUMBERS // len(self._ids))
        self._states: dict[History, Any] = {}
        self._rows: OrderedDict[History, np.ndarray] = OrderedDict()
        self._found: dict[LMState, tuple[History, float]] = {}

    @contextmanager
    def looking_at(self, decoder: LexiconDecoder) -> Iterator[None]:
        """A block in which a decoder decodes frame by frame, so that its beam can be seen."""
        self._beam = decoder.get_all_final_hypothesis
        try:
            yield
        finally:
            self._beam = tuple  # decoder and model hold each other: neither would be freed

    def start(self, start_with_nothing: bool) -> LMState:
        """The beginning of a sentence; the histories of another one are forgotten."""
        state = LMState()
        self._states = {(): self._model.start()}
        self._rows.clear()
        self._found = {state: ((), 0.0)}
        return state

    def score(self, state: LMState, usr_token_idx: int) -> tuple[LMState, float]:
        """The state after a word, and the word's score."""
        # flashlight has a tree of states, one a history: the same two ask for the same child
        child = state.child(usr_token_idx)
        if child not in self._found:
            history = self._found[state][0]
            score = float(self._row(history)[usr_token_idx])
            self._found[child] = ((*history, usr_token_idx), score)
        return child, self._found[child][1]

    def finish(self, state: LMState) -> tuple[LMState, float]:
        """The state after the end of a sentence, and the score of the end."""
        return self.score(state, -1)

    def _row(self, history: History) -> np.ndarray:
        """(words + 1,) scores of all words, and of the end, after a history."""
        if history not in self._rows:
            new = [history] if history in self._states else self._extend(history)
            self._compute(new[-self._most_rows :])
        self._rows.move_to_end(history)
        return self._rows[history]

    def _extend(self, history: History) -> list[History]:
        """Compute the states that the beam lacks, and this one; their histories, this one last."""
        beam = {history_of(result) for result in self._beam()} - {history}
        new = [h for h in beam if h not in self._states] + [history]
        # A history comes to be when its last word is scored, and for that the words before it
        # have been computed.
        words = [int(self._ids[h[-1]]) for h in new]
        states = self._model.step([self._states[h[:-1]] for h in new], words)
        self._states.update(zip(new, states, strict=True))
        return new

    def _compute(self, histories: Sequence[History]) -> None:
        """The rows of histories; the oldest ones make room."""
        for start in range(0, len(histories), self._batch):
            part = histories[start : start + self._batch]
            scores = self._model.log_probs([self._states[h] for h in part]).cpu().numpy()
            self._rows.update(zip(part, scores[:, self._ids] / math.log(10.0), strict=True))
        while len(self._rows) > self._most_rows:
            self._rows.popitem(last=False)
