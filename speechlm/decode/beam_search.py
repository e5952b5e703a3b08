"""Beam search with the translation decoder, for many utterances at a time.

B utterances, T frames, D width of the speech, K hypotheses of an utterance, V tokens, n tokens of
a hypothesis so far. The rules are those of the paper's decoding: a hypothesis ends when EOS is
among the K best continuations of its utterance, an utterance ends with K ended hypotheses, and a
hypothesis of n tokens (EOS included) is worth log-probability / n ** length_penalty.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from speechlm.conventions import EOS, PAD
from speechlm.models.options import Options
from speechlm.models.translation_decoder import DecoderState, TranslationDecoder

NEVER = (PAD,)
"""Ids that no translation has."""


@dataclasses.dataclass(frozen=True)
class BeamOptions(Options):
    """How to search."""

    beam: int = 5
    """K."""
    length_penalty: float = 1.0
    """Exponent of the length by which log-probabilities are divided; 0: none."""
    max_tokens: int = 512
    """A translation has at most so many tokens, EOS not counted."""


@dataclasses.dataclass(frozen=True)
class Hypothesis:
    """A translation."""

    tokens: tuple[int, ...]
    """Without EOS."""
    score: float
    """Log-probability (nats), EOS included, divided by the length's power."""


@dataclasses.dataclass
class _Beam:
    """The utterances that have not ended."""

    rows: Tensor
    """(B,) their numbers in the batch."""
    state: DecoderState
    last: Tensor
    """(B, K) last tokens."""
    totals: Tensor
    """(B, K) log-probabilities; minus infinity for a hypothesis that is none."""
    history: Tensor
    """(B, K, n) tokens."""

    def go_on(self, parents: Tensor, tokens: Tensor, totals: Tensor, keep: Tensor) -> _Beam:
        """Hypotheses (B, K) with their parents and last tokens, of the utterances (B',) to keep."""
        parents, tokens, totals = parents[keep], tokens[keep], totals[keep]
        state, old = self.state, self.history
        if len(keep) < len(self.rows):
            state, old = state.select(keep), old[keep]
        rows = torch.arange(len(keep), device=keep.device)[:, None]
        history = torch.cat([old[rows, parents], tokens[..., None]], 2)
        return _Beam(self.rows[keep], state.reorder(parents), tokens, totals, history)


@torch.inference_mode()
def beam_search(
    decoder: TranslationDecoder, features: Tensor, padding: Tensor | None, options: BeamOptions
) -> list[list[Hypothesis]]:
    """The K best translations of each utterance found, best first.

    Args:
        decoder: in evaluation mode.
        features: (B, T, D) encoded speech.
        padding: (B, T) bool, True on padded frames; None: nothing is padding.
        options: how to search.
    """
    batch, device = len(features), features.device
    ended: list[list[Hypothesis]] = [[] for _ in range(batch)]
    beam = _Beam(
        torch.arange(batch, device=device),
        decoder.start(features, padding),
        torch.full((batch, 1), EOS, device=device),
        torch.zeros(batch, 1, device=device),
        torch.empty(batch, 1, 0, dtype=torch.int64, device=device),
    )
    length = 0
    while len(beam.rows):
        length += 1
        at_limit = length > options.max_tokens
        # The 2 K best continuations of each utterance, best first; with K = 3:
        #
        #   rank      1  2  3 | 4  5  6
        #   token     a  /  b | /  c  d      /: EOS
        #   ended        *    |              among the first K: a translation
        #   goes on   *     * |    *         the K best of the others
        totals, parents, tokens, beam.state = _continuations(decoder, beam, at_limit, options.beam)
        ends = tokens == EOS
        _collect(beam, totals, parents, ends, length, options, ended)
        # those that do not end come first, in their order, as sorting is stable
        order = ends.int().argsort(dim=1, stable=True)[:, : options.beam]
        totals, parents, tokens = (x.gather(1, order) for x in (totals, parents, tokens))
        # where fewer than K go on, the rest of the beam is empty
        totals = totals.masked_fill(ends.gather(1, order), float("-inf"))
        full = torch.tensor([len(ended[row]) >= options.beam for row in beam.rows.tolist()])
        done = full.to(device) | (totals[:, 0] == float("-inf"))
        keep = (~done).nonzero()[:, 0]
        beam = beam.go_on(parents, tokens, totals, keep)
    return [sorted(found, key=lambda h: -h.score) for found in ended]


def _continuations(
    decoder: TranslationDecoder, beam: _Beam, at_limit: bool, size: int
) -> tuple[Tensor, Tensor, Tensor, DecoderState]:
    """The 2 K best continuations: totals, parents, tokens (B, 2 K), best first; the new state.

    Of 2 K at least K do not end. At the limit of their length all can only end.
    """
    # log p(tokens so far) + log p(next token): (B, K, 1) + (B, K, V) -> (B, K V) -> the 2 K best
    logits, state = decoder.step(beam.last, beam.state)
    scores = logits.float().log_softmax(-1)
    scores[..., NEVER] = float("-inf")
    if at_limit:  # a hypothesis has one continuation, EOS
        end = scores[..., EOS].clone()
        scores.fill_(float("-inf"))
        scores[..., EOS] = end
    n_tokens = scores.shape[-1]
    flat = (beam.totals[..., None] + scores).flatten(1)
    totals, index = flat.topk(min(2 * size, flat.shape[1]))
    return totals, index // n_tokens, index % n_tokens, state


def _collect(
    beam: _Beam,
    totals: Tensor,
    parents: Tensor,
    ends: Tensor,
    length: int,
    options: BeamOptions,
    ended: list[list[Hypothesis]],
) -> None:
    """Put hypotheses that end among the K best continuations into `ended`."""
    first = ends[:, : options.beam] & (totals[:, : options.beam] > float("-inf"))
    for row, rank in first.nonzero().tolist():
        found = ended[int(beam.rows[row])]
        if len(found) < options.beam:
            tokens = beam.history[row, parents[row, rank]].tolist()
            score = float(totals[row, rank]) / length**options.length_penalty
            found.append(Hypothesis(tuple(tokens), score))
