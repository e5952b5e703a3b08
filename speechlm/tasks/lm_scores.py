"""Probabilities of sentences by a trained Transformer language model of words.

Whole sentences for rescoring (`NeuralLM.sentence_scores`), and word by word for a search that asks
while it goes (`start`, `step`, `log_probs`, `word_scores`): each state keeps its place in the
network, so that a step computes one word, and states that share words share their memory.
"""

from __future__ import annotations

import math
import os
from argparse import Namespace
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from speechlm.checkpoints.trainer_files import load_weights_only
from speechlm.data.whole_files import read_json
from speechlm.data.yaml_file import read_yaml
from speechlm.lm.ngram import Perplexity
from speechlm.progress import progress
from speechlm.tasks.batching import padded_batches
from speechlm.tasks.lm import MAX_SCORES, WordLanguageModel, WordLMTask
from speechlm.tasks.lm_words import UNKNOWN, Sentences, WordList, padded

INFO, TOKENS, CONFIG = "info.json", "tokens.txt", "config.yaml"
"""Files of a trained language model, beside its weights."""
WEIGHTS = "valid.loss.ave.pth"
"""Link to the weights that a training ends with."""
_CHUNK = 4096  # sentences of a text that are scored at once
_ABSENT = "train_lm writes it when it has come to its end"


@dataclass(eq=False)
class History:
    """Words after the beginning of a sentence, and what the network has made of them.

    Attributes: `ids` of the words, the sentence's beginning before them; `layers` of each of these,
    (layers, D) outputs; `hidden` (D,) of the last one, from which the next word is predicted;
    `normalizer`: log of the sum of its tokens' exponentials, once it was asked for.
    """

    ids: tuple[int, ...]
    layers: tuple[Tensor, ...]
    hidden: Tensor
    normalizer: float | None = None


class NeuralLM:
    """A trained language model of words; scores are natural logarithms.

    Words that it does not know are scored as `<unk>`.

    Args:
        model: ESPnet's model with the network.
        words: its words.
        device: where to compute.
    """

    def __init__(self, model: WordLanguageModel, words: WordList, device: str = "cpu") -> None:
        self.model, self.words, self.device = model.eval().to(device), words, device

    @classmethod
    def load(cls, folder: str | os.PathLike[str], device: str = "cpu") -> NeuralLM:
        """Open the folder of train_lm.

        Args:
            folder: of the training.
            device: where to compute.

        Raises:
            ValueError: there is no trained model, or its files do not belong together.
        """
        folder = Path(folder)
        info = read_json(folder / INFO, "description of a language model", _ABSENT)
        words = WordList.read(folder / TOKENS)
        if info.get("tokens_sha256") != words.sha256:
            raise ValueError(
                f"{folder / TOKENS} is not the list of words that the model of {folder / INFO} was "
                "trained with; copy the whole folder again, or train again"
            )
        args = Namespace(**{"init": None, **read_yaml(folder / CONFIG)})
        args.token_list = folder / TOKENS
        model = WordLMTask.build_model(args)
        weights = load_weights_only(folder / WEIGHTS)
        try:
            model.load_state_dict(weights)
        except (RuntimeError, TypeError, AttributeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise ValueError(
                f"{folder / WEIGHTS} has not the weights of the model that {folder / CONFIG} "
                f"describes ({reason}); copy the whole folder again, or train again"
            ) from None
        return cls(model, words, device)

    @property
    def end(self) -> int:
        """Id of `</s>`, the end of a sentence."""
        return self.words.end

    def word_ids(self, words: Sequence[str]) -> np.ndarray:
        """(n,) int64 ids of words, for `step` and `word_scores`."""
        return self.words.ids(words)

    def unknown_words(self, sentences: Sequence[str]) -> int:
        """How many words of the sentences are scored as `<unk>`."""
        return sum(word not in self.words for text in sentences for word in text.split())

    def sentence_scores(self, sentences: Sequence[str], batch_words: int = 2000) -> np.ndarray:
        """(n,) float64 natural logarithms of P(words, </s>) of sentences.

        Args:
            sentences: words separated by white space; equal ones are computed once. The empty
                sentence has the probability of </s>.
            batch_words: limit of (sentences x words of the longest) that are computed together,
                where the end of a sentence counts as a word; the scores do not depend on it.
        """
        places: dict[tuple[str, ...], int] = {}
        which = [places.setdefault(tuple(text.split()), len(places)) for text in sentences]
        scores = np.empty(len(places))
        rows = [self.words.ids(words) for words in places]
        for row, found in self.token_scores(rows, batch_words):
            scores[row] = found.sum()
        return scores[which]

    def token_scores(
        self, rows: Sequence[np.ndarray], batch_words: int
    ) -> Iterator[tuple[int, np.ndarray]]:
        """(index, (n + 1,) float64 scores of the n words and of </s>) of each row of ids.

        Args:
            rows: ids of the words of sentences.
            batch_words: as in `sentence_scores`; a longer sentence is a batch of its own.
        """
        if not rows:
            return
        for batch in padded_batches([len(row) + 1 for row in rows], batch_words, 1)[0]:
            tensors = padded([rows[i] for i in batch])
            text, lengths = (tensors[name].to(self.device) for name in ("text", "text_lengths"))
            with torch.inference_mode():
                found = -self.model.nll(text, lengths)[0].double().cpu().numpy()
            yield from ((int(i), found[n, : len(rows[i]) + 1]) for n, i in enumerate(batch))

    def start(self) -> History:
        """The beginning of a sentence."""
        return self._next([History((), (), torch.empty(0))], [self.end])[0]

    def step(self, states: Sequence[History], words: Sequence[int] | np.ndarray) -> list[History]:
        """The states after one more word each.

        Args:
            states: N states, of any lengths.
            words: N ids (`word_ids`).
        """
        groups: dict[int, list[int]] = defaultdict(list)
        for n, state in enumerate(states):
            groups[len(state.ids)].append(n)
        after: dict[int, History] = {}
        for group in groups.values():
            made = self._next([states[n] for n in group], [int(words[n]) for n in group])
            after.update(zip(group, made, strict=True))
        return [after[n] for n in range(len(states))]

    @torch.inference_mode()
    def _next(self, states: Sequence[History], words: Sequence[int]) -> list[History]:
        """As `step`, for states of one length."""
        lm, rows = self.model.lm, [(*s.ids, w) for s, w in zip(states, words, strict=True)]
        ids = torch.tensor(rows, device=self.device)
        cache = None
        if length := len(states[0].ids):
            seen = torch.stack([layers for state in states for layers in state.layers])
            # (N T, layers, D) -> layers of (N, T, D)
            cache = list(seen.unflatten(0, (len(states), length)).permute(2, 0, 1, 3))
        hidden, _, made = lm.encoder.forward_one_step(
            lm.embed(ids), lm._target_mask(ids), cache=cache
        )
        new = torch.stack([layer[:, -1] for layer in made], 1)  # (N, layers, D)
        return [
            History(row, (*state.layers, new[n]), hidden[n, -1])
            for n, (state, row) in enumerate(zip(states, rows, strict=True))
        ]

    @torch.inference_mode()
    def log_probs(self, states: Sequence[History]) -> Tensor:
        """(N, V) log-probabilities of all tokens after N states; ids are those of `word_ids`."""
        hidden = torch.stack([state.hidden for state in states])
        return self.model.lm.decoder(hidden).log_softmax(-1)

    @torch.inference_mode()
    def word_scores(
        self, states: Sequence[History], words: Sequence[int] | np.ndarray
    ) -> np.ndarray:
        """(N,) log-probabilities of one token each after N states (`end`: that the sentence ends).

        A state computes all its tokens at the first time, and keeps one number of them.
        """
        decoder = self.model.lm.decoder
        new = list({id(s): s for s in states if s.normalizer is None}.values())
        rows = max(1, MAX_SCORES // decoder.out_features)
        for part in (new[n : n + rows] for n in range(0, len(new), rows)):
            scores = decoder(torch.stack([state.hidden for state in part]))
            for state, value in zip(part, scores.logsumexp(-1).tolist(), strict=True):
                state.normalizer = value
        chosen = torch.as_tensor(np.asarray(words, np.int64), device=self.device)
        hidden = torch.stack([state.hidden for state in states])
        found = (hidden * decoder.weight[chosen]).sum(-1) + decoder.bias[chosen]
        return found.double().cpu().numpy() - np.array([state.normalizer for state in states])


def perplexity(
    lm: NeuralLM, texts: Sequence[str | os.PathLike[str]], batch_words: int = 2000
) -> Perplexity:
    """Perplexity of texts, to be compared with that of an n-gram model (`lm.ngram.perplexity`).

    The same tokens count: all words and ends of sentences, without the unknown words (which are in
    the histories of others), and once with them as `<unk>`.

    Args:
        lm: the model.
        texts: a sentence a line; those named `text` have ids. Empty lines are no sentences.
        batch_words: as in `NeuralLM.sentence_scores`.

    Raises:
        ValueError: a text cannot be read, or there are no sentences.
    """
    lines = Sentences(texts, lm.words)
    sums = np.zeros((2, 2))  # known and unknown tokens: how many, and their scores added up
    sentences = 0
    for first in progress(range(0, len(lines), _CHUNK), f"blocks of {_CHUNK:,} lines"):
        numbers = range(first, min(first + _CHUNK, len(lines)))
        rows = [lm.word_ids(words) for words in map(lines.__getitem__, numbers) if words]
        sentences += len(rows)
        for row, scores in lm.token_scores(rows, batch_words):
            odd = np.append(rows[row] == UNKNOWN, False)  # the end is known
            sums[0] += np.sum(~odd), scores[~odd].sum()
            sums[1] += np.sum(odd), scores[odd].sum()
    if not sentences:
        raise ValueError(f"no sentences in {' '.join(map(str, texts))}")
    (known, of_known), (oov, _) = sums
    tokens, total = sums.sum(0)
    return Perplexity(
        sentences=sentences,
        words=int(tokens) - sentences,
        oov=int(oov),
        perplexity=math.exp(-of_known / known),
        perplexity_with_oov=math.exp(-total / tokens),
    )
