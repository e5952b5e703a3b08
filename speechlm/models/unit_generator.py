"""The network from phones to hidden units.

FastSpeech (Ren et al. 2019) with units in place of spectrograms:

phones -> FFT blocks -> durations -> phones repeated -> FFT blocks -> units

B batch, P phones (with the end of sentence), U units (20 ms), D model width, V output classes.
"""

from __future__ import annotations

import dataclasses
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from speechlm.conventions import PAD
from speechlm.kernels.dropout import dropout
from speechlm.kernels.tiled_convolution import TiledConvolution
from speechlm.models.attention import MultiHeadAttention, sinusoidal_positions
from speechlm.models.options import Options


@dataclasses.dataclass(frozen=True)
class TextToUnitConfig(Options):
    """Shape and training behaviour; the defaults are the authors'."""

    embed_dim: int = 256
    """Width D."""
    heads: int = 2
    """Attention heads; must divide embed_dim."""
    encoder_layers: int = 4
    """FFT blocks over phones."""
    decoder_layers: int = 4
    """FFT blocks over units."""
    ffn_dim: int = 1024
    """Inner channels of the convolutional feed-forward layers."""
    ffn_kernel: int = 9
    """Taps of both their convolutions; odd."""
    predictor_dim: int = 256
    """Channels of the duration predictor."""
    dropout: float = 0.1
    """Dropout on embeddings and sub-layer outputs."""
    attention_dropout: float = 0.1
    """Dropout on attention weights."""
    predictor_dropout: float = 0.5
    """Dropout in the duration predictor."""
    label_smoothing: float = 0.1
    """Share of the unit targets' probability that is spread over the other classes."""
    ignore_padding: bool = True
    """True: a sentence gives the same alone and in a batch; False: as the authors, whose
    convolutions look into the padding, so that neighbours in a batch change the last units."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_multiple("embed_dim", "heads")
        if self.embed_dim % 2:
            raise ValueError(f"embed_dim: expected an even number, got {self.embed_dim}")
        if self.ffn_kernel % 2 == 0:
            raise ValueError(f"ffn_kernel: expected an odd number, got {self.ffn_kernel}")


@dataclasses.dataclass
class UnitPredictions:
    """What the model says of a batch."""

    logits: Tensor
    """(B, U, V); frames beyond lengths are meaningless."""
    lengths: Tensor
    """(B,) units of each sentence."""
    log_durations: Tensor
    """(B, P) predicted log(units + 1) of each phone."""
    durations: Tensor
    """(B, P) units of each phone: as given, or as predicted."""


class UnitGenerator(nn.Module):
    """The network of TextToUnit."""

    def __init__(self, config: TextToUnitConfig, n_phones: int, n_classes: int):
        super().__init__()
        self.config = config
        dim = config.embed_dim
        self.pos_emb_alpha = nn.Parameter(torch.ones(1))
        self.dec_pos_emb_alpha = nn.Parameter(torch.ones(1))
        self.embed_tokens = nn.Embedding(n_phones, dim, padding_idx=PAD)
        nn.init.normal_(self.embed_tokens.weight, std=dim**-0.5)
        with torch.no_grad():
            self.embed_tokens.weight[PAD] = 0.0
        blocks = range(config.encoder_layers)
        self.encoder_fft_layers = nn.ModuleList(FFTBlock(config) for _ in blocks)
        self.var_adaptor = nn.ModuleDict({"duration_predictor": DurationPredictor(config)})
        blocks = range(config.decoder_layers)
        self.decoder_fft_layers = nn.ModuleList(FFTBlock(config) for _ in blocks)
        self.out_proj = nn.Linear(dim, n_classes)

    def forward(self, phones: Tensor, durations: Tensor | None) -> UnitPredictions:
        """Phones (B, P), durations (B, P) or None for predicted ones -> predictions."""
        x = self.encode(phones)
        log_durations = self.log_durations(x, phones == PAD)
        if durations is None:
            durations = to_durations(log_durations).masked_fill(phones == PAD, 0)
        lengths = durations.sum(1)
        logits = self.decode(repeat_phones(x, durations), lengths)
        return UnitPredictions(logits, lengths, log_durations, durations)

    @property
    def duration_predictor(self) -> DurationPredictor:
        """(B, P, D) -> (B, P) log(units + 1)."""
        return cast(DurationPredictor, self.var_adaptor["duration_predictor"])

    def encode(self, phones: Tensor) -> Tensor:
        """(B, P) -> (B, P, D)."""
        padding = phones == PAD
        return self._blocks(
            self.encoder_fft_layers, self.embed_tokens(phones), padding, self.pos_emb_alpha
        )

    def log_durations(self, x: Tensor, padding: Tensor) -> Tensor:
        """(B, P, D) -> (B, P) log(units + 1)."""
        return self.duration_predictor(x, self._zeroed(padding))

    def decode(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Repeated phones (B, U, D) -> logits (B, U, V)."""
        padding = torch.arange(x.shape[1], device=x.device) >= lengths[:, None]
        return self.out_proj(
            self._blocks(self.decoder_fft_layers, x, padding, self.dec_pos_emb_alpha)
        )

    def tile_convolutions(self, dtype: torch.dtype) -> None:
        """Puts `TiledConvolution`s of that type in place of the feed-forward convolutions."""
        for block in (*self.encoder_fft_layers, *self.decoder_fft_layers):
            for index in (0, 2):
                block.ffn.ffn[index] = TiledConvolution(block.ffn.ffn[index], dtype)

    def _blocks(self, blocks: nn.ModuleList, x: Tensor, padding: Tensor, alpha: Tensor) -> Tensor:
        positions = alpha * sinusoidal_positions(2, x.shape[1], x)
        x = x + positions.masked_fill(padding[..., None], 0.0)
        x = dropout(x, self.config.dropout, self.training)
        seen = None
        if bool(padding.any()):
            seen = ~padding[:, None, None]
            seen = seen | ~seen.any(-1, keepdim=True)  # a row without units sees everything
        for block in blocks:
            x = block(x, seen, self._zeroed(padding))
        return x

    def _zeroed(self, padding: Tensor) -> Tensor | None:
        """(B, T, 1) frames to clear before convolutions; None: none."""
        return padding[..., None] if self.config.ignore_padding else None


class FFTBlock(nn.Module):
    """Self-attention, then two convolutions, each with a residual and a norm after it."""

    def __init__(self, config: TextToUnitConfig):
        super().__init__()
        self.dropout = config.dropout
        self.self_attn = MultiHeadAttention(
            config.embed_dim, config.heads, config.attention_dropout
        )
        self.layer_norm = nn.LayerNorm(config.embed_dim)
        self.ffn = ConvFeedForward(config)

    def forward(self, x: Tensor, seen: Tensor | None, zeroed: Tensor | None) -> Tensor:
        """(B, T, D) -> (B, T, D); seen (B, 1, 1, T) keys, zeroed (B, T, 1) frames to clear."""
        key, value = self.self_attn.keys_values(x)
        mixed = self.self_attn.attend(self.self_attn.queries(x), key, value, seen)
        x = self.layer_norm(x + dropout(mixed, self.dropout, self.training))
        return self.ffn(x, zeroed)


class ConvFeedForward(nn.Module):
    """Convolution, ReLU, convolution over time."""

    def __init__(self, config: TextToUnitConfig):
        super().__init__()
        self.dropout = config.dropout
        dim, inner, kernel = config.embed_dim, config.ffn_dim, config.ffn_kernel
        self.ffn = nn.Sequential(
            _convolution(dim, inner, kernel), nn.ReLU(), _convolution(inner, dim, kernel)
        )
        self.layer_norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor, zeroed: Tensor | None) -> Tensor:
        """(B, T, D) -> (B, T, D)."""
        hidden = F.relu(_convolve(self.ffn[0], x, zeroed), inplace=True)
        y = dropout(_convolve(self.ffn[2], hidden, zeroed), self.dropout, self.training)
        return self.layer_norm(y + x)


class DurationPredictor(nn.Module):
    """log(units + 1) of each phone: two convolutions with ReLU and norm, one linear layer."""

    def __init__(self, config: TextToUnitConfig):
        super().__init__()
        self.dropout = config.predictor_dropout
        dim, inner = config.embed_dim, config.predictor_dim
        self.conv1 = nn.Sequential(_convolution(dim, inner, 3))
        self.ln1 = nn.LayerNorm(inner)
        self.conv2 = nn.Sequential(_convolution(inner, inner, 3))
        self.ln2 = nn.LayerNorm(inner)
        self.proj = nn.Linear(inner, 1)

    def forward(self, x: Tensor, zeroed: Tensor | None) -> Tensor:
        """(B, P, D) -> (B, P)."""
        for convolution, norm in ((self.conv1[0], self.ln1), (self.conv2[0], self.ln2)):
            x = norm(F.relu(_convolve(convolution, x, zeroed)))
            x = dropout(x, self.dropout, self.training)
        return self.proj(x)[..., 0]


def _convolution(channels: int, outputs: int, kernel: int) -> nn.Conv1d:
    """A convolution that keeps the length."""
    convolution = nn.Conv1d(channels, outputs, kernel, padding=kernel // 2)
    nn.init.xavier_uniform_(convolution.weight, nn.init.calculate_gain("relu"))
    return convolution


def _convolve(convolution: nn.Module, x: Tensor, zeroed: Tensor | None) -> Tensor:
    """(B, T, C) -> (B, T, C'); `zeroed` (B, T, 1) frames count as zeros."""
    if zeroed is not None:
        x = x.masked_fill(zeroed, 0.0)
    if isinstance(convolution, TiledConvolution):
        return convolution(x)
    return convolution(x.transpose(1, 2)).transpose(1, 2)


def to_durations(log_durations: Tensor) -> Tensor:
    """Units of a phone: exp(x) - 1, rounded half to even, at least 0; int64."""
    return (log_durations.float().exp() - 1.0).round().long().clamp(min=0)


def repeat_phones(x: Tensor, durations: Tensor) -> Tensor:
    """Length regulation: (B, P, D), durations (B, P) -> (B, U, D), zero after each row's end."""
    # Unit n of a row belongs to the first phone whose end is beyond n: durations 2 0 3 have the
    # ends 2 2 5, and units 0 .. 4 the phones 0 0 2 2 2.
    ends = durations.cumsum(1)
    columns = torch.arange(int(ends[:, -1].max()), device=x.device).expand(x.shape[0], -1)
    source = torch.searchsorted(ends, columns.contiguous(), right=True)
    padding = columns >= ends[:, -1:]
    source = source.masked_fill(padding, 0)[..., None].expand(-1, -1, x.shape[2])
    return x.gather(1, source).masked_fill(padding[..., None], 0.0)
