"""The paper's decoder: flashlight's beam search over a trie of spellings, with a word model.

Its beam holds alignments, and the word model is asked at the end of each word. The graph search
(`speechlm.decode.ctc_search`) has the same objective and finds better sentences in less time; this
one is for comparison with the paper, for n-gram models that are too large for a graph (KenLM's
binary files), and for a neural model within the search.

The two differ in one thing: here a `|` may last or come again between words and before the first
one, as silence does.

T frames, V characters. Source: SpeechLM, section V-A, after wav2letter++ (arXiv 1812.07625).
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from flashlight.lib.text.decoder import (
    LM,
    CriterionType,
    DecodeResult,
    LexiconDecoder,
    LexiconDecoderOptions,
    LMState,
    SmearingMode,
    Trie,
)

from speechlm.data.kaldi_dir import show_ids
from speechlm.data.vocabulary import CharacterVocabulary
from speechlm.decode.ctc_search import LN10, Entry, Found, Weights
from speechlm.decode.emissions import check_emissions
from speechlm.decode.flashlight_lm import FusedLM, History, WordModel, history_of, load_word_model
from speechlm.lm.ctc_graph import WORD_START
from speechlm.lm.spellings import FLASHLIGHT_LIMIT, Spellings, read_spellings

_BLANK, _WORD_END = CharacterVocabulary.blank, CharacterVocabulary.word_end


@dataclass(frozen=True)
class FlashlightOptions:
    """How wide a search is.

    Raises:
        ValueError: values that find nothing.
    """

    beam: int = 500
    """Most hypotheses after a frame: alignments, many of them of one sentence."""
    beam_size_token: int = CharacterVocabulary.n_ids
    """Most characters, the likeliest ones, by which a frame extends hypotheses."""
    beam_threshold: float = 50.0
    """Score (the objective's) by which a hypothesis may be behind the best one."""
    log_add: bool = False
    """Whether alignments of the same words add up; if not, the best one counts, as in a graph."""

    def __post_init__(self) -> None:
        for name in ("beam", "beam_size_token", "beam_threshold"):
            value = getattr(self, name)
            if not (value > 0 and math.isfinite(value)):
                raise ValueError(f"{name} is {value}; a number above 0 expected")


class Setting(NamedTuple):
    """A published way to decode."""

    options: FlashlightOptions
    weights: Weights


PAPER = Setting(FlashlightOptions(1500, beam_threshold=100.0), Weights(2.0, -1.0))
"""The paper's, with a 4-gram of words."""
PAPER_TRANSFORMER = Setting(FlashlightOptions(500, beam_threshold=25.0), Weights(0.9 * LN10, -0.31))
"""The paper's, with a Transformer of words, whose weight 0.9 is of ln P."""


class FlashlightSearch:
    """A lexicon and a word model in memory.

    Args:
        lexicon: words and spellings, such as `lexicon.lst` of a decoding graph.
        lm: file of an n-gram model, such as `lm.arpa` of a decoding graph, or KenLM's binary; or a
            neural model, which then takes part in the search.
        options: how wide to search.

    Raises:
        ValueError: a damaged file, or a model that has none of the lexicon's words.
    """

    def __init__(
        self,
        lexicon: str | os.PathLike[str],
        lm: str | os.PathLike[str] | WordModel,
        options: FlashlightOptions | None = None,
    ) -> None:
        self.options = options or FlashlightOptions()
        spellings = read_spellings(Path(lexicon))
        self._lm, self._words = load_word_model(lm, sorted(spellings))
        if lacking := sorted(spellings.keys() - set(self._words)):
            logging.warning(
                "the word model lacks %d words of the lexicon, which will not be recognised: %s",
                *(len(lacking), show_ids(lacking)),
            )
        self._trie = _trie(spellings, self._words, self._lm)

    def decode(self, emissions: np.ndarray, weights: Weights) -> Found:
        """The best sentence of (T, V) log-probabilities.

        Raises:
            ValueError: see `check_emissions`.
        """
        best = next(iter(self._results(emissions, weights)), None)
        if best is None:
            return Found((), False)
        return Found(self._words_of(best), _is_complete(best))

    def nbest(self, emissions: np.ndarray, weights: Weights, n: int) -> tuple[list[Entry], bool]:
        """The N best different sentences, best first, and whether they are complete.

        There are no more of them than the beam holds at the end. If alignments add up
        (`log_add`), `acoustic` is that of all those which the beam has held.

        Raises:
            ValueError: see `check_emissions`.
        """
        results = self._results(emissions, weights)
        if not results:
            return [], False
        complete = _is_complete(results[0])
        start = None if complete else self._lm.start(False)
        entries: dict[tuple[str, ...], Entry] = {}
        for result in results:
            if len(entries) == n:
                break
            entry = self._entry(result, weights, start)
            entries.setdefault(entry.words, entry)
        return sorted(entries.values(), key=lambda e: -e.total(weights)), complete

    def _results(self, emissions: np.ndarray, weights: Weights) -> list[DecodeResult]:
        """What the beam holds at the end, best first: all complete, or, if none is, none."""
        # A copy of its own: flashlight is given an address and believes that it finds there
        # (T, V) float32 in C's order.
        scores = check_emissions(emissions, "emissions").copy()
        if not len(scores):
            return []
        scores[:, _BLANK] -= weights.blank_score
        # A decoder keeps the beams of all frames until it is freed: one for each utterance.
        decoder = self._decoder(weights)
        fused = isinstance(self._lm, FusedLM)
        with self._lm.looking_at(decoder) if fused else nullcontext():
            decoder.decode_begin()
            for frame in scores:  # one by one: a fused model looks at the beam between them
                decoder.decode_step(frame.ctypes.data, 1, len(frame))
            decoder.decode_end()
        return decoder.get_all_final_hypothesis()

    def _decoder(self, weights: Weights) -> LexiconDecoder:
        options = LexiconDecoderOptions(
            beam_size=self.options.beam,
            beam_size_token=self.options.beam_size_token,
            beam_threshold=self.options.beam_threshold,
            lm_weight=weights.lm_weight,
            word_score=weights.word_score,
            unk_score=-math.inf,
            sil_score=0.0,
            log_add=self.options.log_add,
            criterion_type=CriterionType.CTC,
        )
        return LexiconDecoder(
            options,
            self._trie,
            self._lm,
            sil_token_idx=_WORD_END,
            blank_token_idx=_BLANK,
            unk_token_idx=-1,
            transitions=[],
            is_token_lm=False,
        )

    def _words_of(self, result: DecodeResult) -> tuple[str, ...]:
        return tuple(self._words[index] for index in history_of(result))

    def _entry(self, result: DecodeResult, weights: Weights, start: LMState | None) -> Entry:
        """A result as an entry; `start`: the word model's state there, if it is unfinished."""
        words = self._words_of(result)
        # score = acoustic + lm_weight * log10 P + word_score * words
        acoustic = result.score - weights.lm_weight * result.lmScore
        acoustic -= weights.word_score * len(words)
        # the search's log10 P has for an unfinished word that of the likeliest which begins so
        ngram = self._log10(start, history_of(result)) if start else result.lmScore
        # a word stands at the first frame of its `|`; the first and the last place are no frames
        labels = np.where(np.array(result.words) >= 0, WORD_START, result.tokens)[1:-1]
        return Entry(words, acoustic, ngram, labels)

    def _log10(self, state: LMState, history: History) -> float:
        """Log10 of the probability of a whole sentence."""
        total = 0.0
        for index in history:
            state, score = self._lm.score(state, index)
            total += score
        return total + self._lm.finish(state)[1]


def _is_complete(result: DecodeResult) -> bool:
    """Whether no character follows the last word's end."""
    words, tokens = np.array(result.words), np.array(result.tokens)
    end = np.flatnonzero(words >= 0)
    rest = tokens[end[-1] + 1 if len(end) else 0 :]
    return bool(np.isin(rest, (_BLANK, _WORD_END)).all())


def _trie(spellings: Spellings, words: Sequence[str], lm: LM) -> Trie:
    """The spellings as a tree that looks ahead with the words' scores at a sentence's start."""
    start = lm.start(False)
    of_spelling: dict[tuple[int, ...], list[tuple[float, int]]] = {}
    for index, word in enumerate(words):
        score = lm.score(start, index)[1]
        for spelling in spellings[word]:
            of_spelling.setdefault(spelling, []).append((score, index))
    trie = Trie(CharacterVocabulary.n_ids, _WORD_END)
    dropped = []
    for spelling, entries in of_spelling.items():
        entries.sort(reverse=True)
        for score, index in entries[:FLASHLIGHT_LIMIT]:
            trie.insert(spelling, index, score)
        dropped += [words[index] for _, index in entries[FLASHLIGHT_LIMIT:]]
    if dropped:
        logging.warning(
            "%d words have the spelling of %d likelier ones and will not be recognised: %s",
            *(len(dropped), FLASHLIGHT_LIMIT, show_ids(dropped)),
        )
    trie.smear(SmearingMode.MAX)
    return trie
