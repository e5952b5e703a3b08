"""Initial values of a SpeechLM's weights.

What is not named here has the initial values of its own module.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from speechlm.conventions import PAD
from speechlm.models.fast_transformer import DepthwiseConvolution
from speechlm.models.transformer import SharedEncoder


@torch.no_grad()
def initialize_paper(speech: nn.Module, shared: nn.Module, embed: nn.Embedding) -> None:
    """BERT's normal(0, 0.02) in the Speech Transformer, Xavier in the Shared attention.

    Args:
        speech, shared: a `SpeechEncoder` and a `SharedEncoder`.
        embed: unit embeddings.
    """
    assert isinstance(shared, SharedEncoder)
    for module in speech.modules():
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.normal_(module.weight, std=0.02)
        if isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)
    for attention in shared.attentions:
        for projection in (attention.q_proj, attention.k_proj, attention.v_proj):
            nn.init.xavier_uniform_(projection.weight, gain=2**-0.5)
        nn.init.xavier_uniform_(attention.out_proj.weight)
        nn.init.zeros_(attention.out_proj.bias)
    nn.init.normal_(embed.weight, std=embed.embedding_dim**-0.5)
    embed.weight[PAD] = 0.0
    shared.embed_positions.weight[PAD] = 0.0


@torch.no_grad()
def initialize_fast(
    parts: Iterable[nn.Module], scores: Iterable[nn.Module], embed: nn.Embedding
) -> None:
    """Variances that neither grow nor fall with depth.

    Args:
        parts: front end and encoders. Their weights get 0.8 / sqrt(inputs), the last ones of a
            sub-layer half of that, so that it adds little to what it is added to.
        scores: linear layers that score units or characters: all nearly the same.
        embed: unit embeddings, as large as the states that they are swapped for.
    """
    for part in parts:
        for name, module in part.named_modules():
            if isinstance(module, nn.Linear):
                _normal(module, 0.4 if name.endswith(("out_proj", "fc2")) else 0.8)
            if isinstance(module, DepthwiseConvolution):
                nn.init.trunc_normal_(module.weight, std=0.4 * len(module.weight) ** -0.5)
    for layer in scores:
        assert isinstance(layer, nn.Linear)
        _normal(layer, 0.08)
    nn.init.normal_(embed.weight)
    embed.weight[PAD] = 0.0


def _normal(layer: nn.Linear, scale: float) -> None:
    nn.init.trunc_normal_(layer.weight, std=scale * layer.in_features**-0.5)
    nn.init.zeros_(layer.bias)
