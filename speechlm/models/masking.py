"""Span masks over frames and channels (HuBERT's scheme, which SpeechLM uses for speech and text).

B batch, T frames (or channels). Everything is drawn on the device of `lengths`, in parallel over
the batch, from torch's generator: `torch.manual_seed` makes runs repeatable.
"""

from __future__ import annotations

import torch
from torch import Tensor

from speechlm.models.config import SpeechLMConfig
from speechlm.models.outputs import SpeechDraws

MIN_SPANS = 2
"""Spans that every utterance gets, however short it is."""


def span_mask(
    lengths: Tensor,
    width: int,
    prob: float,
    span: int,
    min_spans: int = MIN_SPANS,
    same_count: bool = False,
    generator: torch.Generator | None = None,
    groups: int = 1,
) -> Tensor:
    """Draws masked spans for each row.

    A row of n valid frames gets max(min_spans, floor(prob * n / span + u)) spans, u uniform in
    [0, 1), whose starts are drawn without replacement in [0, n - span); spans may overlap and are
    clipped to the row. Then each row loses random frames until all rows of the batch (with
    `groups`, of its part of the batch) have the smallest number of masked frames among them.

    Args:
        lengths: (B,) valid frames of each row; nothing beyond them is masked.
        width: T, columns of the mask.
        prob: expected share of frames in spans, before overlaps.
        span: frames of a span.
        min_spans: spans at least, per row.
        same_count: one u for the whole batch, as for channels, instead of one per row.
        generator: source of randomness on the device of `lengths` (default: torch's own).
        groups: batches that were put together as this one; rows of each are equal among themselves,
            as if they had stayed apart.

    Returns:
        (B, T) bool, True where masked.

    Source: HuBERT (Hsu et al. 2021), section II-B; mask_prob and mask_length in the paper's setup.
    """
    rows, device = lengths.shape[0], lengths.device
    if prob <= 0.0 or rows == 0:
        return torch.zeros(rows, width, dtype=torch.bool, device=device)
    lengths = lengths.to(torch.int64)
    # spans (B,) = max(min_spans, floor(prob n / span + u)), u ~ U[0, 1): prob n / span on average
    jitter = torch.rand(1 if same_count else rows, device=device, generator=generator)
    spans = (prob * lengths.double() / span + jitter).floor().long().clamp(min=min_spans)
    # A span starts at one of the frames 0 .. n - span - 1; if these are too few, at 0 .. spans, and
    # is clipped at the row's end.
    starts_allowed = torch.where(lengths - span <= spans, spans + 1, lengths - span)
    starts_allowed = torch.minimum(starts_allowed, lengths)

    columns = torch.arange(width, device=device)
    starts = _choose(columns < starts_allowed[:, None], spans, generator)
    # covered[t] = S[t] - S[t - span], S running sums of starts: spans from t - span + 1 .. t
    #
    #   t        0 1 2 3 4 5 6 7      span 3
    #   starts   . 1 . . . 1 1 .
    #   S        0 1 1 1 1 2 3 3
    #   covered  0 1 1 1 0 1 2 2
    covered = starts.long().cumsum(1)
    covered[:, span:] = covered[:, span:] - covered[:, :-span].clone() if span < width else 0
    mask = (covered > 0) & (columns < lengths[:, None])
    # every row keeps as many masked frames as the row with the fewest has, chosen at random
    counts, parts = mask.sum(1), min(groups, rows)
    fewest = counts.min().expand(rows)
    if parts > 1:
        fewest = torch.cat([part.min().expand_as(part) for part in counts.tensor_split(parts)])
    return _choose(mask, fewest, generator)


def draw_masks(
    padding: Tensor, config: SpeechLMConfig, draws: SpeechDraws, groups: int = 1
) -> tuple[Tensor, Tensor]:
    """Masked frames and swapped frames, (B, T) bool each; the two do not overlap.

    Args:
        padding: (B, T) bool, frames at the end that are neither.
        config: shares and lengths of their spans.
        draws: choices to use instead of drawing them.
        groups: as in `span_mask`.
    """
    frames, mask, swap = padding.shape[1], draws.mask, draws.swap
    if mask is None or swap is None:
        lengths = (~padding).sum(1)
        drawn = span_mask(lengths, frames, config.mask_prob, config.mask_length, groups=groups)
        mask = drawn if mask is None else mask
        drawn = span_mask(lengths, frames, config.swap_prob, config.swap_length, groups=groups)
        swap = drawn if swap is None else swap
    return mask, swap & ~mask


def channel_mask(x: Tensor, prob: float, span: int) -> Tensor:
    """Spans of the channels of x (B, T, D), the same number in each row: (B, D) bool."""
    batch, _, width = x.shape
    channels = torch.full((batch,), width, device=x.device)
    return span_mask(channels, width, prob, span, min_spans=0, same_count=True)


def indices(mask: Tensor) -> Tensor:
    """Where a mask of any shape is True, as positions in its flattened form: (N,) int64.

    Waits for the mask's device: N is known there alone.
    """
    return mask.flatten().nonzero()[:, 0]


def _choose(allowed: Tensor, count: Tensor, generator: torch.Generator | None) -> Tensor:
    """Picks `count` (B,) random columns among the `allowed` (B, T) of each row (all if fewer)."""
    order = torch.rand(allowed.shape, device=allowed.device, generator=generator)
    # rank[t]: how many random numbers of the row are below that of t; columns that are not allowed
    # have 2.0 and come last. argsort gives the column at each rank, its argsort each column's rank.
    rank = order.masked_fill(~allowed, 2.0).argsort(1).argsort(1)
    return allowed & (rank < count[:, None])
