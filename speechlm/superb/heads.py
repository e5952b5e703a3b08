"""The heads of SUPERB: small networks on the weighted sum of a frozen network's layers.

B batch, T frames, L layers, D width of a layer, C classes or symbols, E embedding, K layer weights.

Source: Yang et al. 2021, section 4 and appendix; sizes as in s3prl 0.4.18.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MARGIN, SCALE = 0.4, 30.0
"""Of the softmax of speaker verification."""
CONTEXT = 15
"""Frames that an x-vector's frame is made of: 5, 3 of every second, 3 of every third."""
SPEAKERS = 2
"""Of diarization."""
_DROPOUT = 0.2


class WeightedSum(nn.Module):
    """Layers (B, T, L, D) -> their weighted sum (B, T, D); weights are a softmax of L scalars."""

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.scalars = nn.Parameter(torch.zeros(layers))

    def weights(self) -> Tensor:
        """(L,), positive, of sum 1."""
        return self.scalars.softmax(0)

    def forward(self, layers: Tensor) -> Tensor:
        """(B, T, L, D) -> (B, T, D)."""
        return torch.einsum("btld,l->btd", layers, self.weights())


class FrameLinear(nn.Module):
    """Two linear layers on each frame, nothing between them: phone recognition."""

    def __init__(self, dim: int, outputs: int, hidden: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(dim, hidden)
        self.final = nn.Linear(hidden, outputs)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """(B, T, D), valid frames (B,) -> (B, T, C)."""
        return self.final(self.hidden(x))


class MeanPoolLinear(nn.Module):
    """A linear layer, the mean over frames, a linear layer: one class of an utterance."""

    def __init__(self, dim: int, outputs: int, hidden: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(dim, hidden)
        self.final = nn.Linear(hidden, outputs)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """(B, T, D), valid frames (B,) -> (B, C)."""
        valid = valid_frames(lengths, x)[..., None]
        # The mean of W x + b over frames is W times their mean + b: one product in place of T.
        mean = (x * valid).sum(1) / lengths[:, None]
        return self.final(self.hidden(mean))


class Recurrent(nn.Module):
    """A projection, two bidirectional LSTM with dropout, a linear layer: CTC on characters.

    A direction is an LSTM of its own, the second one on reversed frames: on a CPU this takes a
    third to an eighth of the time of packed sequences, which padding would need else.
    """

    def __init__(self, dim: int, outputs: int, hidden: int) -> None:
        super().__init__()
        self.project = nn.Linear(dim, hidden)
        self.ahead, self.back = (
            nn.ModuleList(nn.LSTM(size, hidden, batch_first=True) for size in (hidden, 2 * hidden))
            for _ in range(2)
        )
        self.dropout = nn.Dropout(_DROPOUT)
        self.final = nn.Linear(2 * hidden, outputs)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """(B, T, D), valid frames (B,) -> (B, T, C)."""
        frames = x.shape[1]
        # Valid frame t <-> n - 1 - t; padding is reversed within itself. Twice gives x again.
        order = (lengths[:, None] - 1 - torch.arange(frames, device=x.device)) % frames
        x = self.project(x)
        for ahead, back in zip(self.ahead, self.back, strict=True):
            backwards = _in_order(back(_in_order(x, order))[0], order)
            x = self.dropout(torch.cat([ahead(x)[0], backwards], 2))
        return self.final(x)


class XVector(nn.Module):
    """Time delays over 15 frames, mean and deviation, two linear layers: speaker verification.

    In training both linear layers make the embedding; what is compared is that of the first.
    """

    def __init__(self, dim: int, hidden: int, pooled: int) -> None:
        super().__init__()
        self.project = nn.Linear(dim, hidden)
        shapes = ((5, 1, hidden), (3, 2, hidden), (3, 3, hidden), (1, 1, hidden), (1, 1, pooled))
        self.delays = nn.ModuleList(
            nn.Conv1d(hidden, out, kernel, dilation=dilation) for kernel, dilation, out in shapes
        )
        self.first = nn.Linear(2 * pooled, hidden)
        self.second = nn.Linear(hidden, hidden)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """(B, T, D), valid frames (B,), at least `CONTEXT` -> (B, E), E = `hidden`."""
        x = self.project(x).transpose(1, 2)  # (B, hidden, T)
        for delay in self.delays:
            x = F.relu(delay(x))
        x, counts = x.transpose(1, 2), lengths - (CONTEXT - 1)
        valid = valid_frames(counts, x)[..., None]
        mean = (x * valid).sum(1) / counts[:, None]
        # The deviation of a sample, over n - 1; a single frame has none.
        squares = ((x - mean[:, None]).square() * valid).sum(1)
        deviation = (squares / (counts[:, None] - 1).clamp(min=1) + 1e-20).sqrt()
        embedding = F.relu(self.first(torch.cat([mean, deviation], 1)))
        return F.relu(self.second(embedding)) if self.training else embedding


class AdditiveMargin(nn.Module):
    """The loss of speakers in training: softmax over cosines, the right one less a margin."""

    def __init__(self, dim: int, speakers: int) -> None:
        super().__init__()
        self.centres = nn.Parameter(torch.empty(dim, speakers))
        nn.init.xavier_normal_(self.centres)

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Embeddings (B, E) and speakers (B,) -> loss."""
        cosines = F.normalize(embeddings, dim=1) @ F.normalize(self.centres, dim=0)
        margin = MARGIN * F.one_hot(labels, cosines.shape[1])
        return F.cross_entropy(SCALE * (cosines - margin), labels)


class Diarizer(nn.Module):
    """One LSTM and a linear layer: whether each of two speakers is speaking in a frame."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.rnn = nn.LSTM(dim, hidden, batch_first=True)
        self.final = nn.Linear(hidden, SPEAKERS)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """(B, T, D), valid frames (B,) -> logits (B, T, 2)."""
        return self.final(self.rnn(x)[0])


def permutation_free(logits: Tensor, activity: Tensor, lengths: Tensor) -> Tensor:
    """The loss of diarization: cross entropy under the better order of the speakers.

    Args:
        logits: (B, T, 2).
        activity: (B, T, 2), 1 where a speaker speaks.
        lengths: valid frames (B,).
    """
    valid = valid_frames(lengths, logits)
    losses = []
    for target in (activity, activity.flip(2)):
        each = F.binary_cross_entropy_with_logits(logits, target, reduction="none").mean(2)
        losses.append((each * valid).sum(1) / lengths)
    return torch.stack(losses).min(0).values.mean()


def valid_frames(lengths: Tensor, x: Tensor) -> Tensor:
    """(B, T) bool: the first lengths (B,) frames of x (B, T, ...)."""
    return torch.arange(x.shape[1], device=x.device) < lengths[:, None]


def _in_order(x: Tensor, order: Tensor) -> Tensor:
    """Frames of x (B, T, D) in another order (B, T)."""
    return x.gather(1, order[..., None].expand_as(x))
