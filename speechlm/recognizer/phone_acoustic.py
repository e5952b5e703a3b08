"""Neural frame classifier of the phone recogniser: a factorised time-delay network.

Povey et al. 2018, "Semi-orthogonal low-rank matrix factorization for deep neural networks",
without the orthogonality constraint. The network runs at a third of the frame rate and has two
outputs: context classes at 30 ms, for decoding, and HMM states at 10 ms, for alignment. The states
also see one convolution at the full rate, which places their boundaries.

Shapes: B utterances, T frames (10 ms), D features, U = ceil(T / 3) steps (30 ms).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass
class PhoneAcousticConfig:
    """Sizes of the network."""

    n_classes: int
    """Context classes (30 ms output)."""
    n_states: int
    """HMM states (10 ms output)."""
    input_dim: int = 40
    width: int = 384
    bottleneck: int = 128
    dilations: tuple[int, ...] = (1, 1, 2, 2, 3, 3, 3, 3)
    """Steps of 30 ms between the three taps of each block."""
    dropout: float = 0.1
    subsampling: int = 3
    kernel: int = 7
    """Frames seen by the first convolution; odd."""
    fine_width: int = 64
    """Channels of the convolution at the full rate."""
    fine_kernel: int = 9
    """Frames that it sees; odd."""


class FactorizedBlock(nn.Module):
    """Three taps into a bottleneck and out again, with a bypass: (B, C, U) -> (B, C, U)."""

    def __init__(self, width: int, bottleneck: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.reduce = nn.Conv1d(
            width, bottleneck, 3, padding=dilation, dilation=dilation, bias=False
        )
        self.expand = nn.Conv1d(bottleneck, width, 1)
        self.norm = nn.BatchNorm1d(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """y = 0.66 x + dropout(norm(relu(expand(reduce(x))))): (B, C, U) -> (B, C, U)."""
        return 0.66 * x + self.dropout(self.norm(functional.relu(self.expand(self.reduce(x)))))


class PhoneAcousticModel(nn.Module):
    """Features to scores of context classes and of states."""

    def __init__(self, config: PhoneAcousticConfig) -> None:
        super().__init__()
        for name in ("kernel", "fine_kernel"):
            if getattr(config, name) % 2 == 0:
                raise ValueError(f"{name}: an odd number expected, got {getattr(config, name)}")
        self.config = config
        width = config.width
        self.front = nn.Conv1d(config.input_dim, width, config.kernel, stride=config.subsampling)
        self.front_norm = nn.BatchNorm1d(width)
        self.blocks = nn.ModuleList(
            FactorizedBlock(width, config.bottleneck, d, config.dropout) for d in config.dilations
        )
        self.classes = nn.Conv1d(width, config.n_classes, 1)
        self.states = nn.Conv1d(width, config.n_states * config.subsampling, 1)
        self.fine = nn.Conv1d(
            config.input_dim, config.fine_width, config.fine_kernel, padding=config.fine_kernel // 2
        )
        self.fine_norm = nn.BatchNorm1d(config.fine_width)
        self.fine_states = nn.Conv1d(config.fine_width, config.n_states, 1, bias=False)

    def encode(self, features: Tensor) -> Tensor:
        """(B, T, D) -> (B, C, U); step u is centred on frame 3 u + 1."""
        step = self.config.subsampling
        steps = (features.shape[1] + step - 1) // step
        half = self.config.kernel // 2
        left = half - step // 2
        right = (steps - 1) * step + self.config.kernel - left - features.shape[1]
        x = functional.pad(features.transpose(1, 2), (left, max(right, 0)))
        x = self.front_norm(functional.relu(self.front(x)))
        for block in self.blocks:
            x = block(x)
        return x

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Unnormalised scores of classes (B, U, n_classes) and states (B, 3 U, n_states).

        The last state scores may lie beyond T: the caller cuts them off.
        """
        x = self.encode(features)
        states = self.states(x).transpose(1, 2)
        batch, steps, _ = states.shape
        states = states.reshape(batch, steps * self.config.subsampling, self.config.n_states)
        fine = self.fine_norm(functional.relu(self.fine(features.transpose(1, 2))))
        fine = self.fine_states(fine).transpose(1, 2)
        missing = states.shape[1] - fine.shape[1]
        return self.classes(x).transpose(1, 2), states + functional.pad(fine, (0, 0, 0, missing))

    @torch.no_grad()
    def classify(self, features: Tensor) -> Tensor:
        """Log posteriors of the classes only: (B, T, D) -> (B, U, n_classes)."""
        return self.classes(self.encode(features)).transpose(1, 2).log_softmax(-1)
