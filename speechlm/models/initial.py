"""Initial values of a SpeechLM's weights.

What is not named here has the initial values of its own module.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
from torch import nn

from speechlm.conventions import PAD
from speechlm.models.fast_transformer import DepthwiseConvolution
from speechlm.models.transformer import SharedEncoder

if TYPE_CHECKING:
    from speechlm.models.speechlm import SpeechLM


@torch.no_grad()
def initialize_paper(model: SpeechLM, embed: nn.Embedding) -> None:
    """BERT's normal(0, 0.02) in the Speech Transformer, Xavier in the Shared attention."""
    for module in model.encoder.modules():
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.normal_(module.weight, std=0.02)
        if isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)
    shared = cast(SharedEncoder, model.unit_encoder)
    for attention in shared.attentions:
        for projection in (attention.q_proj, attention.k_proj, attention.v_proj):
            nn.init.xavier_uniform_(projection.weight, gain=2**-0.5)
        nn.init.xavier_uniform_(attention.out_proj.weight)
        nn.init.zeros_(attention.out_proj.bias)
    nn.init.normal_(embed.weight, std=model.config.embed_dim**-0.5)
    embed.weight[PAD] = 0.0
    shared.embed_positions.weight[PAD] = 0.0


@torch.no_grad()
def initialize_fast(model: SpeechLM, embed: nn.Embedding) -> None:
    """Variances that neither grow nor fall with depth.

    Weights get 0.8 / sqrt(inputs), the last ones of a sub-layer half of that, so that it adds
    little to what it is added to; layers that score units or characters score all nearly the same;
    unit embeddings are as large as the states that they are swapped for.
    """
    for part in (model.feature_extractor, model.encoder, model.unit_encoder):
        for name, module in part.named_modules():
            if isinstance(module, nn.Linear):
                _normal(module, 0.4 if name.endswith(("out_proj", "fc2")) else 0.8)
            if isinstance(module, DepthwiseConvolution):
                nn.init.trunc_normal_(module.weight, std=0.4 * len(module.weight) ** -0.5)
    assert model.unit_encoder_ctc_head is not None
    for layer in (*model.final_proj_list, model.unit_encoder_ctc_head.output_layer):
        _normal(cast(nn.Linear, layer), 0.08)
    nn.init.normal_(embed.weight)
    embed.weight[PAD] = 0.0


def _normal(layer: nn.Linear, scale: float) -> None:
    nn.init.trunc_normal_(layer.weight, std=scale * layer.in_features**-0.5)
    nn.init.zeros_(layer.bias)
