"""The attention decoder of speech translation: a post-norm Transformer with relative positions.

B utterances, T speech frames, E width of speech, U target tokens, K hypotheses of an utterance,
D model width, H heads, d head width, V tokens, n tokens decoded so far.
"""

from __future__ import annotations

import dataclasses
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from speechlm.conventions import EOS, PAD
from speechlm.kernels.dropout import dropout
from speechlm.models.attention import MultiHeadAttention, sinusoidal_positions
from speechlm.models.losses import label_smoothed_loss
from speechlm.models.options import Options
from speechlm.models.relative_attention import RelativePositions, relative_bias
from speechlm.models.transformer import VERSION

KeysValues = tuple[Tensor, Tensor]
FIRST_SLOTS = 64
"""Slots of a new `DecoderState`; their number doubles when they are full."""


@dataclasses.dataclass(frozen=True)
class TranslationDecoderConfig(Options):
    """Shape and training behaviour; the defaults are the authors' for the Base encoder."""

    encoder_dim: int = 768
    """Width E of the encoder's output (1024 for Large)."""
    embed_dim: int = 768
    """Width D."""
    ffn_dim: int = 3072
    """Inner width of the feed-forward layers."""
    layers: int = 6
    """Decoder layers."""
    heads: int = 12
    """Attention heads; must divide embed_dim."""
    relative_clip: int = 24
    """Distances in self-attention are clipped to this many tokens."""
    dropout: float = 0.0
    """Dropout on embeddings and sub-layer outputs."""
    attention_dropout: float = 0.1
    """Dropout on attention weights."""
    activation_dropout: float = 0.0
    """Dropout inside the feed-forward layers."""
    layerdrop: float = 0.1
    """Probability of skipping a layer in training."""
    label_smoothing: float = 0.1
    """Share of the targets' probability that is spread over the other tokens."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_multiple("embed_dim", "heads")
        if self.embed_dim % 2:
            raise ValueError(f"embed_dim: expected an even number, got {self.embed_dim}")


@dataclasses.dataclass(frozen=True)
class DecoderState:
    """What `TranslationDecoder.step` keeps of K hypotheses for each of B utterances.

    Keys and values of a token are written once, to the next free slot of its utterance, and never
    moved: a hypothesis is the list of its tokens' slots. Of <s> A and <s> B the first was continued
    twice here, the second given up:

        step     1     2       3
        slot     0     1   2   3   4
        token    <s>   A   B   C   D
        first    0     1       3            <s> A C
        second   0     1           4        <s> A D

    `step` writes into the slots' memory, so a state may be stepped from only once.
    """

    memory: list[KeysValues]
    """For each layer, keys and values (B, H, T, d) of the speech."""
    seen: Tensor | None
    """(B, 1, 1, T) bool, frames that are not padding; None: all."""
    slots: list[KeysValues]
    """For each layer, keys and values (B, H, S, d) of tokens; the first `used` slots are filled."""
    used: int
    """Filled slots of an utterance."""
    tokens: Tensor
    """(B, K, n) int64, the slots of each hypothesis's tokens."""

    @property
    def length(self) -> int:
        """n."""
        return self.tokens.shape[2]

    def reorder(self, parents: Tensor) -> DecoderState:
        """New hypotheses, (B, K') indices of the old ones that they continue."""
        rows = torch.arange(parents.shape[0], device=parents.device)[:, None]
        return dataclasses.replace(self, tokens=self.tokens[rows, parents])

    def select(self, utterances: Tensor) -> DecoderState:
        """The state of some utterances only, (B',) indices, as when the others are finished."""
        seen = None if self.seen is None else self.seen[utterances]
        memory, slots = (
            [(keys[utterances], values[utterances]) for keys, values in pairs]
            for pairs in (self.memory, self.slots)
        )
        return DecoderState(memory, seen, slots, self.used, self.tokens[utterances])

    def with_room(self, count: int) -> DecoderState:
        """The state with at least `count` free slots."""
        size = self.slots[0][0].shape[2]
        if self.used + count <= size:
            return self
        padding = (0, 0, 0, max(size, count))
        slots = [(F.pad(keys, padding), F.pad(values, padding)) for keys, values in self.slots]
        return dataclasses.replace(self, slots=slots)


class TranslationDecoder(nn.Module):
    """Target tokens from encoded speech.

    Args:
        config: sizes and training behaviour.
        n_tokens: V, ids of the target vocabulary with its four special ids.

    Parameter names are those of the authors' `decoder`. Sentences begin and end with EOS.
    """

    version: Tensor

    def __init__(self, config: TranslationDecoderConfig, n_tokens: int):
        super().__init__()
        self.config = config
        dim = config.embed_dim
        self.register_buffer("version", torch.tensor([VERSION]))
        self.embed_tokens = nn.Embedding(n_tokens, dim, padding_idx=PAD)
        self.embed_positions = SinusoidalPositions()
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in range(config.layers))
        self.output_projection = nn.Linear(dim, n_tokens, bias=False)
        self.pos_emb = RelativePositions(dim // config.heads, config.relative_clip)
        nn.init.normal_(self.embed_tokens.weight, std=dim**-0.5)
        nn.init.normal_(self.output_projection.weight, std=dim**-0.5)
        with torch.no_grad():
            self.embed_tokens.weight[PAD] = 0.0

    def forward(self, features: Tensor, padding: Tensor | None, tokens: Tensor) -> Tensor:
        """Teacher forcing: scores of the token after each given one.

        Args:
            features: (B, T, E) encoded speech.
            padding: (B, T) bool, True on padded frames; None: nothing is padding.
            tokens: (B, U) ids, EOS first, right-padded with PAD.

        Returns:
            (B, U, V) logits.
        """
        count = tokens.shape[1]
        x = self._embed(tokens, 0)
        future = torch.ones(count, count, dtype=torch.bool, device=x.device).triu(1)
        seen = None if padding is None else ~padding[:, None, None]
        for layer in self._layers():
            if self._dropped():
                continue
            memory = layer.encoder_attn.keys_values(features)
            x = layer(x, self.pos_emb(), future, memory, seen)
        return self.output_projection(x)

    def loss(
        self, features: Tensor, padding: Tensor | None, targets: Tensor
    ) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        """Label-smoothed cross entropy of sentences.

        Args:
            features, padding: as in `forward`.
            targets: (B, U) ids, each sentence ended by EOS, right-padded with PAD.

        Returns:
            loss: (), a token.
            stats: detached scalars: loss, nll (a token, in nats), accuracy.
            weight: (), tokens.
        """
        # Inputs are the targets one step later: a b </s> -> </s> a b
        tokens = targets.roll(1, 1)
        tokens[:, 0] = EOS
        tokens = tokens.masked_fill(targets == PAD, PAD)
        scored = targets != PAD
        logits, expected = self(features, padding, tokens)[scored], targets[scored]
        count = max(1, expected.shape[0])
        loss, nll = label_smoothed_loss(logits, expected, self.config.label_smoothing)
        accuracy = (logits.argmax(-1) == expected).sum() / count
        stats = {"loss": loss / count, "nll": nll / count, "accuracy": accuracy}
        weight = loss.new_tensor(float(expected.shape[0]))
        return loss / count, {key: value.detach() for key, value in stats.items()}, weight

    @torch.no_grad()
    def start(self, features: Tensor, padding: Tensor | None) -> DecoderState:
        """The state before the first token, for features (B, T, E) and padding as in `forward`."""
        memory = [layer.encoder_attn.keys_values(features) for layer in self._layers()]
        seen = None if padding is None else ~padding[:, None, None]
        batch, heads, _, width = memory[0][0].shape
        empty = memory[0][0].new_zeros(batch, heads, FIRST_SLOTS, width)
        slots = [(empty.clone(), empty.clone()) for _ in self.layers]
        tokens = torch.empty(batch, 1, 0, dtype=torch.int64, device=features.device)
        return DecoderState(memory, seen, slots, 0, tokens)

    @torch.no_grad()
    def step(self, tokens: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
        """Scores of the next token of every hypothesis.

        Args:
            tokens: (B, K) the last token of each hypothesis; EOS, with any K, at first.
            state: of `start`, or of the last step after `reorder` (and `select`); used up.

        Returns:
            (logits (B, K, V), new state). The hypotheses of an utterance share its speech.
        """
        batch, beams = tokens.shape
        x = self._embed(tokens.flatten()[:, None], state.length).view(batch, beams, -1)
        first, state = state.used, state.with_room(beams)
        new = torch.arange(first, first + beams, device=tokens.device)
        before = state.tokens.expand(batch, beams, state.length)
        history = torch.cat([before, new.expand(batch, beams)[..., None]], 2)
        state = dataclasses.replace(state, used=first + beams, tokens=history)
        for index, layer in enumerate(self._layers()):
            x = layer.step(x, self.pos_emb(), state, index)
        return self.output_projection(x), state

    def _layers(self) -> list[DecoderLayer]:
        return cast(list[DecoderLayer], list(self.layers))

    def _embed(self, tokens: Tensor, start: int) -> Tensor:
        """(B, U) tokens at positions start .. -> (B, U, D)."""
        x = self.embed_tokens(tokens) * self.config.embed_dim**0.5
        x = x + self.embed_positions(start, x)
        return dropout(x, self.config.dropout, self.training)

    def _dropped(self) -> bool:
        drop = self.config.layerdrop
        return self.training and drop > 0.0 and torch.rand(()).item() < drop


class SinusoidalPositions(nn.Module):
    """Fixed positions; has no weights, only a buffer that the authors' checkpoints carry along."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("_float_tensor", torch.zeros(1))

    def forward(self, start: int, x: Tensor) -> Tensor:
        """(U, D) for x (B, U, D) whose first token is at position start (0, 1, ...)."""
        return sinusoidal_positions(start + 2, x.shape[1], x)


class DecoderLayer(nn.Module):
    """Self-attention, attention to the speech, feed-forward; a norm after each residual."""

    def __init__(self, config: TranslationDecoderConfig):
        super().__init__()
        self.config = config
        dim, heads, drop = config.embed_dim, config.heads, config.attention_dropout
        self.self_attn = MultiHeadAttention(dim, heads, drop)
        self.self_attn_layer_norm = nn.LayerNorm(dim)
        self.encoder_attn = MultiHeadAttention(dim, heads, drop, config.encoder_dim)
        self.encoder_attn_layer_norm = nn.LayerNorm(dim)
        self.fc1 = nn.Linear(dim, config.ffn_dim)
        self.fc2 = nn.Linear(config.ffn_dim, dim)
        self.final_layer_norm = nn.LayerNorm(dim)
        # Unused without pre-norm; the authors' checkpoints have it.
        self.norm_k = nn.LayerNorm(dim // heads).requires_grad_(False)

    def forward(
        self, x: Tensor, table: Tensor, future: Tensor, memory: KeysValues, seen: Tensor | None
    ) -> Tensor:
        """(B, U, D) -> (B, U, D).

        table (2 clip, d) relative keys, future (U, U) bool keys to hide, memory keys and values
        (B, H, T, d) of the speech, seen (B, 1, 1, T) bool or None.
        """
        query = self.self_attn.queries(x)
        bias = relative_bias(query @ table.to(query.dtype).T, x.shape[1])
        bias = bias.masked_fill(future, float("-inf"))
        mixed = self.self_attn.attend(query, *self.self_attn.keys_values(x), bias)
        return self._rest(self.self_attn_layer_norm(x + self._drop(mixed)), *memory, seen)

    def step(self, x: Tensor, table: Tensor, state: DecoderState, index: int) -> Tensor:
        """The newest token of each hypothesis: (B, K, D) -> (B, K, D).

        Its keys and values go into the last K slots of `state`, where this layer is number index.
        """
        beams, used = x.shape[1], state.used
        keys, values = state.slots[index]
        new_keys, new_values = self.self_attn.keys_values(x)
        keys[:, :, used - beams : used] = new_keys
        values[:, :, used - beams : used] = new_values
        query = self.self_attn.queries(x)
        clip = self.config.relative_clip
        # Relative scores of the tokens of each hypothesis, n - 1 .. 0 positions back: (B, H, K, n)
        distance = torch.arange(state.length - 1, -1, -1, device=x.device).clamp(max=clip - 1)
        by_token = (query @ table.to(query.dtype).T)[..., distance + clip]
        # Spread over all used slots, (B, H, K, S); those of other hypotheses stay at -infinity.
        bias = torch.full_like(by_token[..., :1], float("-inf")).repeat(1, 1, 1, used)
        bias.scatter_(3, state.tokens[:, None].expand_as(by_token), by_token)
        mixed = self.self_attn.attend(query, keys[:, :, :used], values[:, :, :used], bias)
        x = self.self_attn_layer_norm(x + mixed)
        return self._rest(x, *state.memory[index], state.seen)

    def _rest(self, x: Tensor, keys: Tensor, values: Tensor, seen: Tensor | None) -> Tensor:
        """Attention to the speech and feed-forward, the same for tokens and hypotheses."""
        attention = self.encoder_attn
        mixed = attention.attend(attention.queries(x), keys, values, seen)
        x = self.encoder_attn_layer_norm(x + self._drop(mixed))
        inner = dropout(F.gelu(self.fc1(x)), self.config.activation_dropout, self.training)
        return self.final_layer_norm(x + self._drop(self.fc2(inner)))

    def _drop(self, x: Tensor) -> Tensor:
        return dropout(x, self.config.dropout, self.training)
