"""Pronunciations of words that no dictionary has.

They are derived from known words by endings, prefixes and compounds where that is possible (see
`derive`); a small neural network predicts the rest.

The network is the one of the g2p_en package (an encoder-decoder of two GRU layers trained on
CMUdict). Only its weight file is read: the package itself, which would fetch NLTK data when
imported, is never imported, and words are predicted in batches.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from speechlm.data.language import CONSONANTS, STRESSES, VOWELS
from speechlm.data.lexicon import Phones
from speechlm.data.whole_files import read_arrays
from speechlm.progress import Progress
from speechlm.tokenizers.derive import Deriver, Dictionary, Pronunciation

_LETTERS = {letter: n for n, letter in enumerate("abcdefghijklmnopqrstuvwxyz", 3)}
_END_OF_WORD, _START, _STOP, _FIRST_PHONE = 2, 2, 3, 4
_BATCH = 512
GUESSES = ("network", "letters")
"""Beginnings of the methods that do not derive a pronunciation from known words."""
_OUTPUTS = sorted([*CONSONANTS, *(v + stress for v in VOWELS for stress in STRESSES), "UW"])
"""The network's phones in its order: alphabetical, with one stray vowel without stress."""


class NeuralG2P:
    """Letters to phones by g2p_en's network, greedily, in numpy.

    Raises:
        ValueError: the package or its weight file is not there.
    """

    def __init__(self) -> None:
        spec = importlib.util.find_spec("g2p_en")
        path = Path(spec.origin or "").parent / "checkpoint20.npz" if spec else None
        if path is None or not path.is_file():
            raise ValueError(
                "words without a known pronunciation need the weights of the g2p_en package: "
                "pip install --no-deps espnet-g2p-en"
            )
        weights = read_arrays(path, (), "weights", "install espnet-g2p-en again")
        w = {name: value.astype(np.float32) for name, value in weights.items()}
        # The input half of a GRU depends on the symbol only: a table (symbols, 3 * hidden).
        self._letter_table = w["enc_emb"] @ w["enc_w_ih"].T + w["enc_b_ih"]
        self._phone_table = w["dec_emb"] @ w["dec_w_ih"].T + w["dec_b_ih"]
        self._encoder = (np.ascontiguousarray(w["enc_w_hh"].T), w["enc_b_hh"])
        self._decoder = (np.ascontiguousarray(w["dec_w_hh"].T), w["dec_b_hh"])
        self._output = (np.ascontiguousarray(w["fc_w"].T), w["fc_b"])

    def __call__(self, words: Sequence[str]) -> list[Phones]:
        """Phones with stress of each word (letters A-Z; others are skipped)."""
        letters = [[_LETTERS[c] for c in word.lower() if c in _LETTERS] for word in words]
        order = sorted(range(len(words)), key=lambda n: len(letters[n]), reverse=True)
        result: list[Phones] = [()] * len(words)
        with Progress("words spelled", len(words)) as shown:
            for start in range(0, len(order), _BATCH):
                chosen = order[start : start + _BATCH]
                batch = self._decode(*self._encode([letters[n] for n in chosen]))
                for n, phones in zip(chosen, batch, strict=True):
                    result[n] = phones
                shown.advance(len(chosen))
        return result

    def _encode(self, words: list[list[int]]) -> tuple[np.ndarray, int]:
        """Last states (B, H) of words sorted by falling length, and the most phones allowed."""
        lengths = np.array([len(word) + 1 for word in words])
        ids = np.full((len(words), lengths[0]), _END_OF_WORD)
        for row, word in zip(ids, words, strict=True):
            row[: len(word)] = word
        state = np.zeros((len(words), self._encoder[0].shape[0]), np.float32)
        for t in range(lengths[0]):
            n = int((lengths > t).sum())
            state[:n] = _gru(self._letter_table[ids[:n, t]], state[:n], *self._encoder)
        return state, 2 * int(lengths[0]) + 4

    def _decode(self, state: np.ndarray, most: int) -> list[Phones]:
        """Greedy output of each row of `state` (B, H), until the stop symbol."""
        previous = np.full(len(state), _START)
        running = np.ones(len(state), bool)
        columns = []
        for _ in range(most):
            state = _gru(self._phone_table[previous], state, *self._decoder)
            previous = (state @ self._output[0] + self._output[1]).argmax(1)
            running &= previous != _STOP
            columns.append(np.where(running, previous, _STOP))
            if not running.any():
                break
        return [_spelling(row[row >= _FIRST_PHONE] - _FIRST_PHONE) for row in np.array(columns).T]


def _gru(x: np.ndarray, state: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """One GRU step: x (B, 3H) the input's share (reset, update, new), state (B, H)."""
    h = state @ weight + bias
    n = state.shape[1]
    gates = 1 / (1 + np.exp(-(x[:, : 2 * n] + h[:, : 2 * n])))
    new = np.tanh(x[:, 2 * n :] + gates[:, :n] * h[:, 2 * n :])
    return new + gates[:, n:] * (state - new)


def _spelling(outputs: Iterable[int]) -> Phones:
    """Phone names; the one vowel that the network knows without stress gets a stress."""
    return tuple("UW1" if _OUTPUTS[n] == "UW" else _OUTPUTS[n] for n in outputs)


class Pronouncer:
    """Pronunciations of any words of A-Z and apostrophe, given a dictionary of known ones.

    The order: the dictionary; known words with endings, prefixes, clitics, other spellings,
    compounds (`derive.Deriver`); the network, for the whole word or for what is left of it
    without its clitic ('S, 'LL ..); letter names if the network has no answer. Results are kept.
    """

    def __init__(self, dictionary: Dictionary) -> None:
        self._dictionary = dictionary
        self._deriver = Deriver(dictionary)
        self._network: NeuralG2P | None = None
        self._known: dict[str, Pronunciation] = {}

    def __call__(self, words: Iterable[str]) -> list[Pronunciation]:
        """(phones, method) of every word, in order; method says how it was found."""
        words = list(words)
        new = [word for word in dict.fromkeys(words) if word not in self._known]
        rest = []
        for word in new:
            found = self._deriver(word)
            if found is None:
                rest.append(word)
            else:
                self._known[word] = found
        self._predict(rest)
        return [self._known[word] for word in words]

    def _predict(self, words: Sequence[str]) -> None:
        """Let the network say the stems of these words, and put their clitics back."""
        if not words:
            return
        stems = [self._deriver.split_clitic(word) for word in words]
        if self._network is None:
            self._network = NeuralG2P()
        unknown = sorted({stem for stem, _ in stems if self._deriver(stem) is None})
        said = dict(zip(unknown, self._network(unknown), strict=True))
        for word, (stem, clitic) in zip(words, stems, strict=True):
            derived = self._deriver(stem)
            phones, method = derived if derived else (said[stem], "network")
            if not phones:
                phones, method = self._letter_names(stem), "letters"
            self._known[word] = (clitic(phones), method + ("+clitic" if stem != word else ""))

    def _letter_names(self, word: str) -> Phones:
        names = [self._dictionary[letter][0] for letter in word if letter in self._dictionary]
        if not names:
            raise ValueError(f"no pronunciation for {word!r}: expected letters A-Z")
        return tuple(phone for name in names for phone in name)
