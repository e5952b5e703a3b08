"""The two Transformers of SpeechLM-Fast: pre-norm layers with rotary positions.

B batch, T frames or text units, D model width. The encoders take and give what those of
`transformer` do.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from speechlm.kernels import fast
from speechlm.kernels.dropout import dropout
from speechlm.kernels.fused_pass import FusedPass
from speechlm.kernels.taps import by_taps
from speechlm.models.config import SpeechLMConfig
from speechlm.models.rotary import RotarySelfAttention, rotations
from speechlm.models.transformer import EncoderOutput, FeedForwardLayer, run_layers


def depthwise(x: Tensor, weight: Tensor) -> Tensor:
    """y_t = sum_k w_k x_(t + k - K // 2), channel by channel: (B, T, D), (K, D) -> (B, T, D)."""
    kernel, dim = weight.shape
    # As images a pixel high, (B, D, 1, T), of which channels lie side by side: a convolution over
    # time would copy x to (B, D, T) before and its result back behind.
    weight = weight.to(x.dtype).T[:, None, None]
    y = F.conv2d(x.mT.unsqueeze(2), weight, padding=(0, kernel // 2), groups=dim)
    return y.squeeze(2).mT


class DepthwiseConvolution(nn.Module):
    """Each channel's own taps over neighbouring frames: (B, T, D) -> (B, T, D).

    Padding must be zero; beyond the ends stand zeros, too.
    """

    def __init__(self, dim: int, kernel: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(kernel, dim))

    def forward(self, x: Tensor) -> Tensor:
        """y_t = sum_k w_k x_(t + k - K // 2), channel by channel."""
        return by_taps(x, self.weight) if fast("taps", x) else depthwise(x, self.weight)


class FastLayer(FeedForwardLayer):
    """Depthwise convolution, self-attention, feed-forward: each normed first, and added."""

    def __init__(self, config: SpeechLMConfig) -> None:
        super().__init__(config)
        dim = config.embed_dim
        self.conv: DepthwiseConvolution | None = None
        if config.depthwise_kernel > 1:
            self.conv = DepthwiseConvolution(dim, config.depthwise_kernel)
            self.conv_layer_norm = nn.LayerNorm(dim)
        self.self_attn = RotarySelfAttention(dim, config.heads, config.attention_dropout)
        self.self_attn_layer_norm = nn.LayerNorm(dim)
        self.fc1 = nn.Linear(dim, config.ffn_dim)
        self.fc2 = nn.Linear(config.ffn_dim, dim)
        self.final_layer_norm = nn.LayerNorm(dim)

    def forward(
        self,
        x: Tensor,
        turns: tuple[Tensor, Tensor],
        padding: Tensor | None,
        fused: FusedPass | None = None,
    ) -> Tensor:
        """(B, T, D) -> (B, T, D); arguments as in `RotarySelfAttention`; `fused`: fused kernels."""
        if fused is not None:
            return self._fused(x, turns, padding, fused)
        if self.conv is not None:
            normed = self.conv_layer_norm(x)
            if padding is not None:
                normed = normed.masked_fill(padding[..., None], 0.0)
            x = x + self._drop(self.conv(normed))
        x = x + self._drop(self.self_attn(self.self_attn_layer_norm(x), turns, padding))
        return x + self._feed_forward(self.final_layer_norm(x))

    def _fused(
        self, x: Tensor, turns: tuple[Tensor, Tensor], padding: Tensor | None, fused: FusedPass
    ) -> Tensor:
        if self.conv is None:
            x, normed = fused.norm(x, "self_attn_layer_norm")
        else:
            x, normed = fused.norm(x, "conv_layer_norm")
            if padding is not None:
                normed = normed.masked_fill(padding[..., None], 0.0)
            branch = depthwise(normed, fused.weights["conv.weight"])
            x, normed = fused.add(branch, None, x, "self_attn_layer_norm", self.config.dropout)
        return self._fused_pre_norm(x, normed, (turns, padding), fused)


class FastEncoder(nn.Module):
    """Layers and a final norm; base of both encoders."""

    def __init__(self, config: SpeechLMConfig, n_layers: int, layerdrop: float) -> None:
        super().__init__()
        self.config, self.layerdrop = config, layerdrop
        self.layers = nn.ModuleList(FastLayer(config) for _ in range(n_layers))
        self.layer_norm = nn.LayerNorm(config.embed_dim)

    def forward(self, x: Tensor, padding: Tensor | None) -> EncoderOutput:
        """(B, T, D) -> hidden states; padding (B, T) bool, None: nothing is padding."""
        x = dropout(x, self.config.dropout, self.training)
        turns = rotations(x, self.config.head_dim)
        outputs = run_layers(self.layers, x, self.layerdrop, self.training, turns, padding)
        return EncoderOutput(self.layer_norm(outputs[-1]), outputs)


class FastSpeechEncoder(FastEncoder):
    """The Speech Transformer."""

    def __init__(self, config: SpeechLMConfig) -> None:
        super().__init__(config, config.speech_layers, config.speech_layerdrop)


class FastSharedEncoder(FastEncoder):
    """The Shared Transformer over unit embeddings or speech states."""

    embed_tokens: nn.Embedding | None
    """The unit embeddings, as in `SharedEncoder`."""

    def __init__(self, config: SpeechLMConfig, embed_tokens: nn.Embedding) -> None:
        super().__init__(config, config.shared_layers, config.shared_layerdrop)
        self.embed_tokens = embed_tokens
