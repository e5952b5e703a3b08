"""Probabilities of sentences by an n-gram model, read by KenLM: for rescoring and perplexity."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from speechlm.data.encoding import not_utf8, refuse_wide
from speechlm.data.whole_files import DamagedFile, damage

if TYPE_CHECKING:
    import kenlm

MAX_ORDER = 6
"""Longest n-grams that the packaged KenLM reads."""

_ADVICE = "copy the file again, or make it anew (train_ngram)"
# KenLM says `file.cc:LINE in FUNCTION threw EXCEPTION because CONDITION. MESSAGE Byte: N`
_BUILD = re.compile(r"\S+\.(?:cc|hh):\d+ in .*? threw [\w:]+(?: because `.*?')?\.\s*", re.DOTALL)
_ORDER = re.compile(r"This model has order (\d+) but")
_KINDS = {
    "test values don't match": "a binary file of another version of KenLM, or of another kind of"
    " machine: build it again from its ARPA file",
    "got sent to the ARPA parser": "a packed or cut off binary file of KenLM: unpack it, or build"
    " it again",
    "Avoid pruning": "a model that lacks many ends of its n-grams, as some programs prune: build a"
    " binary file of it that needs none (build_binary trie)",
    "Positive log probability": "the logarithm of a probability is above 0: the model is wrong",
}


class NgramLM:
    """An n-gram model in memory: an ARPA file, its .gz, or KenLM's binary format.

    A binary file (`build_binary` of tools/install_kenlm.sh) is mapped into memory at once; an ARPA
    file is parsed, which takes half a second and 20 MB for a million n-grams.

    Attributes: `path`, `order` (length of the longest n-grams).

    Raises:
        ValueError: there is no such file, or it is damaged, of another kind, or of n-grams longer
            than `MAX_ORDER`.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = path
        self._model = _load(path)
        self.order: int = self._model.order

    def sentence_scores(self, sentences: Sequence[str]) -> np.ndarray:
        """Natural logarithm of P(words, `</s>`) of each sentence, float64 (N,).

        Words that the model lacks have the probability of `<unk>`.
        """
        # KenLM's logarithms are to base 10
        scores = [self._model.score(sentence) for sentence in sentences]
        return np.array(scores, dtype=np.float64) * math.log(10)

    def unknown_words(self, sentences: Sequence[str]) -> int:
        """Number of words, repeats counted, that the model lacks."""
        return sum(word not in self._model for text in sentences for word in text.split())

    def word_scores(self, sentence: str) -> Iterator[tuple[float, bool]]:
        """(log10 P, whether the model lacks it) of each word of a sentence, and of its end."""
        return ((log10, unknown) for log10, _, unknown in self._model.full_scores(sentence))


def _load(path: str | os.PathLike[str]) -> kenlm.Model:
    import kenlm

    if wrong := damage(path):
        raise DamagedFile(f"{path} {wrong}; {_ADVICE}")
    config = kenlm.Config()
    config.show_progress = False
    config.arpa_complain = kenlm.ARPALoadComplain.NONE
    try:
        return kenlm.Model(os.fspath(path), config)
    except MemoryError:
        raise
    except Exception as error:
        # KenLM's message holds a piece of the file; where that is no UTF-8, there is no message
        if isinstance(error, UnicodeDecodeError) or str(error).endswith("()"):
            refuse_wide(path)
            raise not_utf8(path) from None
        raise DamagedFile(_message(path, str(error))) from None


def _message(path: str | os.PathLike[str], text: str) -> str:
    """What KenLM says of a file, without the places in its own source."""
    if order := _ORDER.search(text):
        return (
            f"{path}: a model of {order[1]}-grams; KenLM reads those of up to {MAX_ORDER}-grams:"
            " prune it or train a shorter one (train_ngram --order)"
        )
    # `Cannot read model 'PATH' (TEXT)`: the text is within the outer brackets
    inner = text.partition("' (")[2].removesuffix(")") or text
    inner = " ".join(_BUILD.sub("", inner).split())
    for sign, kind in _KINDS.items():
        if sign in inner:
            return f"{path}: {kind}"
    return f"{path} is cut off or damaged, or holds no n-gram model ({inner}); {_ADVICE}"
