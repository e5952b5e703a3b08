"""The Speech Transformer and the Shared (unit) Transformer.

B batch, T frames, D model width, d head width. Sub-module names are the authors' keys.
"""

from __future__ import annotations

import dataclasses
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from speechlm.conventions import PAD
from speechlm.kernels import fast
from speechlm.kernels.cast_weights import Packed
from speechlm.kernels.dropout import dropout
from speechlm.kernels.fused_pass import FusedPass, draw_seeds, fused_layer, fused_type
from speechlm.kernels.low_layers import in_type, low_layer, low_type
from speechlm.kernels.products import gelu_linear, linear
from speechlm.kernels.tap_norm import normed_taps
from speechlm.kernels.tiled_convolution import grouped_convolution
from speechlm.models.config import SpeechLMConfig
from speechlm.models.relative_attention import RelativePositions, RelativeSelfAttention

VERSION = 3.0
"""Value of the buffer `unit_encoder.version` in the authors' checkpoints."""


class FeedForwardLayer(nn.Module):
    """What layers of both architectures have: a feed-forward part, and dropout of what is added."""

    fc1: nn.Linear
    """Widens, D to the inner width."""
    fc2: nn.Linear
    """Narrows again."""
    self_attn: Any
    """Has `attend`: queries, keys and values to what they mix, (B, T, 3 D) -> (B, T, D)."""
    packed: Packed = {}
    """Weights that a fused pass has as one tensor."""

    def __init__(self, config: SpeechLMConfig):
        super().__init__()
        self.config = config

    def _feed_forward(self, x: Tensor) -> Tensor:
        if self.training and self.config.activation_dropout > 0.0:
            inner = dropout(F.gelu(linear(x, self.fc1)), self.config.activation_dropout, True)
            return self._drop(linear(inner, self.fc2))
        return self._drop(gelu_linear(linear(x, self.fc1), self.fc2))

    def _drop(self, x: Tensor) -> Tensor:
        return dropout(x, self.config.dropout, self.training)

    def _fused_attention(self, qkv: Tensor, shared: tuple[Any, ...], fused: FusedPass) -> Tensor:
        """Attention of projected frames (B, T, 3 D) but for the bias of its last product."""
        drop = fused.drop(self.config.attention_dropout)
        return fused.linear(self.self_attn.attend(qkv, *shared, *drop), "self_attn.out_proj", False)

    def _fused_feed_forward(self, inner: Tensor, fused: FusedPass) -> Tensor:
        """The feed-forward part from its first product on, but for the biases of both."""
        inner = fused.gelu(inner, "fc1", self.config.activation_dropout)
        return fused.linear(inner, "fc2", False)

    def _fused_pre_norm(
        self, x: Tensor, normed: Tensor, shared: tuple[Any, ...], fused: FusedPass
    ) -> Tensor:
        """Both branches of pre-norm layers for x and its norm, (B, T, D) each."""
        qkv, rate = fused.linear(normed, "self_attn.qkv_proj"), self.config.dropout
        attended = self._fused_attention(qkv, shared, fused)
        x, normed = fused.add(attended, "self_attn.out_proj", x, "final_layer_norm", rate)
        branch = self._fused_feed_forward(fused.linear(normed, "fc1", False), fused)
        return fused.add(branch, "fc2", x, None, rate)[0]


class TransformerLayer(FeedForwardLayer):
    """Self-attention and feed-forward, each with a residual; pre- or post-norm."""

    packed = {
        f"self_attn.qkv_proj.{kind}": [f"self_attn.{part}_proj.{kind}" for part in "qkv"]
        for kind in ("weight", "bias")
    }

    def __init__(self, config: SpeechLMConfig):
        super().__init__(config)
        dim = config.embed_dim
        self.self_attn = RelativeSelfAttention(dim, config.heads, config.attention_dropout)
        self.self_attn_layer_norm = nn.LayerNorm(dim)
        self.fc1 = nn.Linear(dim, config.ffn_dim)
        self.fc2 = nn.Linear(config.ffn_dim, dim)
        self.final_layer_norm = nn.LayerNorm(dim)
        # Normalises the relative table, in pre-norm layers only; kept, unused, in the others
        # because the authors' checkpoints have it there.
        self.norm_k = nn.LayerNorm(config.head_dim).requires_grad_(config.pre_norm)

    def forward(
        self, x: Tensor, table: Tensor, padding: Tensor | None, fused: FusedPass | None = None
    ) -> Tensor:
        """(B, T, D) -> (B, T, D); table (R, d) relative keys, padding (B, T) bool.

        With `fused` by fused kernels, and with the table of each head, (H, R, d).
        """
        if fused is not None:
            return self._fused(x, table, padding, fused)
        if self.config.pre_norm:
            table = self.norm_k(table)
            x = x + self._drop(self.self_attn(self.self_attn_layer_norm(x), table, padding))
            return x + self._feed_forward(self.final_layer_norm(x))
        x = self.self_attn_layer_norm(x + self._drop(self.self_attn(x, table, padding)))
        return self.final_layer_norm(x + self._feed_forward(x))

    def _fused(self, x: Tensor, tables: Tensor, padding: Tensor | None, fused: FusedPass) -> Tensor:
        rate = self.config.dropout
        if self.config.pre_norm:
            weight, bias = fused.weights["norm_k.weight"], fused.weights["norm_k.bias"]
            tables = F.layer_norm(tables, tables.shape[-1:], weight, bias)
            x, normed = fused.norm(x, "self_attn_layer_norm")
            return self._fused_pre_norm(x, normed, (tables, padding), fused)
        qkv, x = fused.linear_beside(x, "self_attn.qkv_proj")
        attended = self._fused_attention(qkv, (tables, padding), fused)
        _, x = fused.add(attended, "self_attn.out_proj", x, "self_attn_layer_norm", rate)
        inner, x = fused.linear_beside(x, "fc1", False)
        branch = self._fused_feed_forward(inner, fused)
        return fused.add(branch, "fc2", x, "final_layer_norm", rate)[1]


def run_layers(
    layers: nn.ModuleList, x: Tensor, layerdrop: float, training: bool, *shared: Any
) -> list[Tensor]:
    """Outputs (B, T, D) of each layer; in training a skipped one gives what it was given.

    Args:
        layers: called with x (B, T, D) and `shared`.
        x: input of the first.
        layerdrop: probability of skipping a layer in training.
        training: whether this is training.
        shared: what all layers get beside x.
    """
    outputs = []
    config = cast(FeedForwardLayer, layers[0]).config
    fused = fused_type(x, config.head_dim)
    low = low_type(x) if fused is None else fused
    if low is not None:
        x, *shared = in_type((x, *shared), low)
    rates = config.dropout, config.attention_dropout, config.activation_dropout
    seeds = draw_seeds(x, len(layers)) if fused and training and any(rates) else iter(())
    for layer in layers:
        own_seeds = next(seeds, None)
        if not (training and layerdrop > 0.0 and torch.rand(()).item() < layerdrop):
            if fused is not None:
                x = fused_layer(layer, x, shared, own_seeds)
            else:
                x = layer(x, *shared) if low is None else low_layer(layer, x, *shared)
        outputs.append(x)
    return outputs


class LayerStack(nn.Module):
    """Layers that share one relative position table; base of both encoders."""

    def __init__(self, config: SpeechLMConfig, n_layers: int, layerdrop: float):
        super().__init__()
        self.config, self.layerdrop = config, layerdrop
        self.layers = nn.ModuleList(TransformerLayer(config) for _ in range(n_layers))
        self.pos_emb = RelativePositions(config.head_dim, config.relative_clip)

    @property
    def attentions(self) -> list[RelativeSelfAttention]:
        """The layers' attention, in order."""
        return [cast(TransformerLayer, layer).self_attn for layer in self.layers]

    def run_layers(self, x: Tensor, padding: Tensor | None) -> list[Tensor]:
        """Outputs (B, T, D) of the layers."""
        table = self.pos_emb()
        if fused_type(x, self.config.head_dim) is not None:
            table = table.expand(self.config.heads, -1, -1)
        return run_layers(self.layers, x, self.layerdrop, self.training, table, padding)


@dataclasses.dataclass
class EncoderOutput:
    """What an encoder returns."""

    last: Tensor
    """(B, T, D), after the final norm where there is one."""
    layers: list[Tensor]
    """(B, T, D) for each layer, without the final norm."""


class PositionalConvolution(nn.Module):
    """Convolutional position embedding with weight norm over the taps; (B, T, D) -> (B, T, D).

    Source: wav2vec 2.0 (Baevski et al. 2020), relative positional embedding.
    """

    def __init__(self, dim: int, kernel: int, groups: int):
        super().__init__()
        self.groups = groups
        weight = torch.empty(dim, dim // groups, kernel)
        # wav2vec 2.0 has 4 (1 - dropout) here, but its dropout is 0 at this place.
        nn.init.normal_(weight, std=(4 / (kernel * dim)) ** 0.5)
        self.bias = nn.Parameter(torch.zeros(dim))
        self.weight_g = nn.Parameter(weight.norm(dim=(0, 1), keepdim=True))
        self.weight_v = nn.Parameter(weight)

    def forward(self, x: Tensor) -> Tensor:
        """The embedding alone, to be added to x."""
        if fast("position", x):
            scale = self._scale()
            with torch.autocast("cpu", enabled=False):
                y = grouped_convolution(
                    x.to(self.weight_v.dtype), self.weight_v, scale, self.groups
                )
                return F.gelu(y + self.bias)
        frames, kernel = x.shape[1], self.weight_v.shape[2]
        low = low_type(x)
        if low is None:
            weight = self.weight_v * self._scale()
        else:
            weight = normed_taps(self.weight_v, self.weight_g, low)
        # An even kernel, padded by half on both sides, gives a frame too many: the last is cut off.
        y = F.conv1d(x.transpose(1, 2), weight, self.bias, padding=kernel // 2, groups=self.groups)
        return F.gelu(y[..., :frames].transpose(1, 2))

    def _scale(self) -> Tensor:
        """Weight norm with one length for each tap k: w_k = g_k v_k / |v_k|, |v_k| over (O, C)."""
        return self.weight_g[0, 0] / self.weight_v.flatten(0, 1).norm(dim=0)


class SpeechEncoder(LayerStack):
    """The Speech Transformer (paper section III-A)."""

    def __init__(self, config: SpeechLMConfig):
        super().__init__(config, config.speech_layers, config.speech_layerdrop)
        dim = config.embed_dim
        position = PositionalConvolution(dim, config.pos_conv_kernel, config.pos_conv_groups)
        self.pos_conv = nn.Sequential(position)
        self.layer_norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor, padding: Tensor | None) -> EncoderOutput:
        """(B, T, D) projected features, padding (B, T) bool -> hidden states."""
        if padding is not None:
            x = x.masked_fill(padding[..., None], 0.0)
        x = x + self.pos_conv(x)
        if not self.config.pre_norm:
            x = self.layer_norm(x)
        layers = self.run_layers(dropout(x, self.config.dropout, self.training), padding)
        last = self.layer_norm(layers[-1]) if self.config.pre_norm else layers[-1]
        return EncoderOutput(last, layers)


class SharedEncoder(LayerStack):
    """The Shared Transformer over unit embeddings or speech states (paper section III-A)."""

    version: Tensor
    embed_tokens: nn.Embedding | None
    """The unit embeddings under the name that the authors' checkpoints have, too; None: none."""

    def __init__(self, config: SpeechLMConfig, embed_tokens: nn.Embedding):
        super().__init__(config, config.shared_layers, config.shared_layerdrop)
        dim = config.embed_dim
        self.register_buffer("version", torch.tensor([VERSION]))
        self.embed_tokens = embed_tokens
        self.embed_positions = nn.Embedding(config.max_positions + 2, dim, padding_idx=PAD)
        nn.init.normal_(self.embed_positions.weight, std=dim**-0.5)
        self.layernorm_embedding = nn.LayerNorm(dim)
        if config.pre_norm:
            self.layer_norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor, padding: Tensor | None) -> EncoderOutput:
        """(B, T, D) embeddings or states, padding (B, T) bool -> hidden states."""
        x = self.layernorm_embedding(x + self.embed_positions(self._positions(x, padding)))
        x = dropout(x, self.config.dropout, self.training)
        if padding is not None:
            x = x.masked_fill(padding[..., None], 0.0)
        layers = self.run_layers(x, padding)
        last = self.layer_norm(layers[-1]) if self.config.pre_norm else layers[-1]
        return EncoderOutput(last, layers)

    def _positions(self, x: Tensor, padding: Tensor | None) -> Tensor:
        """Rows of the position table: 2, 3, ... over the valid frames, PAD on the others."""
        last_row = self.config.max_positions + 1
        if padding is None:
            return torch.arange(2, x.shape[1] + 2, device=x.device).clamp(max=last_row)[None]
        # The n-th valid frame, n from 1, has row n + PAD = 2, 3, ..: rows 0 and 1 are special ids.
        count = (~padding).long().cumsum(1)
        return (count + PAD).clamp(max=last_row).masked_fill(padding, PAD)
