"""The character CTC head, trained by UCTC on text and reused by CTC fine-tuning on speech.

B batch, T frames, D model width, N outputs a frame (one in the paper), V characters. Sub-module
names are the authors' keys.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from speechlm.kernels import fast
from speechlm.kernels.channels_last import convolve, images_of
from speechlm.kernels.dropout import dropout
from speechlm.kernels.low_layers import low_layer, low_type
from speechlm.kernels.products import affine, compute_type, linear


class CTCHead(nn.Module):
    """Conv1d (kernel 2, padding 1, no bias) -> dropout -> layer norm -> GELU -> linear.

    With several outputs a frame the convolution gives N D channels, of which the first D are the
    first output's, and so on.

    Source: paper, UCTC loss (doc/paper_map.md).
    """

    def __init__(self, dim: int, n_characters: int, dropout: float = 0.1, outputs: int = 1):
        super().__init__()
        self.dropout, self.outputs = dropout, outputs
        convolution = nn.Conv1d(dim, outputs * dim, 2, padding=1, bias=False)
        nn.init.kaiming_normal_(convolution.weight)
        self.add_module("1", convolution)
        self.add_module("3", nn.ModuleDict({"2": nn.LayerNorm(dim)}))
        self.add_module("5", nn.Linear(dim, n_characters))

    @property
    def output_layer(self) -> nn.Linear:
        """The last projection, D -> V."""
        return getattr(self, "5")

    def forward(self, hidden: Tensor) -> Tensor:
        """(B, T, D) -> logits (B, (T + 1) N, V); outputs t N .. see frames t - 1 and t."""
        dtype = low_type(hidden)
        if dtype is not None:  # once more, without autocast
            return low_layer(self, hidden.to(dtype))
        return linear(self.before_output(hidden), self.output_layer)

    def before_output(self, hidden: Tensor) -> Tensor:
        """(B, T, D) -> (B, (T + 1) N, D), what the last projection sees."""
        mixed = self._convolve(hidden).reshape(hidden.shape[0], -1, hidden.shape[2])
        mixed = dropout(mixed, self.dropout, self.training)
        return F.gelu(getattr(self, "3")["2"](mixed))

    def _convolve(self, hidden: Tensor) -> Tensor:
        """(B, T, D) -> (B, T + 1, N D)."""
        convolution = getattr(self, "1")
        if fast("channels_last", hidden):
            hidden = hidden.to(compute_type(hidden))
            (images,) = images_of([convolution.weight], hidden.dtype)
            return convolve(hidden, images, padding=1)
        padded = F.pad(hidden.to(compute_type(hidden)), (0, 0, 1, 1))
        pairs = torch.cat([padded[:, :-1], padded[:, 1:]], -1)
        return affine(pairs, convolution.weight.transpose(1, 2).flatten(1), None)
