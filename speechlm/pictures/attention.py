"""The picture of attention: where the heads of a layer look, in an utterance.

H heads, T frames.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from speechlm.pictures.example import Example
from speechlm.pictures.look import SMALL, About, picture

if TYPE_CHECKING:
    from speechlm.checkpoints.pretrained import SpeechLM

_MOST = 8  # heads that are drawn
_COLUMNS = 4
_DARKEST = 0.995  # quantile of the shares that is black, as few frames have most of some heads


def attention_of(model: SpeechLM, waveform: np.ndarray, layer: int) -> np.ndarray:
    """(H, T, T) shares of the keys for each query in a layer, nothing masked.

    Args:
        model: of either architecture, in evaluation mode.
        waveform: (S,) samples.
        layer: number from 1: of the Speech Transformer, then of the Shared Transformer.

    Raises:
        ValueError: there is no such layer.
    """
    import torch

    layers = [*model.encoder.layers, *model.unit_encoder.layers]
    if not 1 <= layer <= len(layers):
        raise ValueError(f"layer: a number from 1 to {len(layers)} expected, got {layer}")
    attention: Any = layers[layer - 1].self_attn
    kept: list[torch.Tensor] = []

    def keep(module: Any, inputs: tuple[Any, ...]) -> None:
        x, positions, _ = inputs  # positions: relative keys, or rotations
        kept.append(module.weights(x, positions))

    handle = attention.register_forward_pre_hook(keep)
    try:
        with torch.no_grad():
            model.encode(torch.from_numpy(waveform)[None])
    finally:
        handle.remove()
    return kept[0][0].float().numpy()


def draw_attention(
    shares: np.ndarray, example: Example, seconds: float, name: str, path: str | os.PathLike[str]
) -> None:
    """Draw a square a head: a row a frame that looks, a column a frame that is looked at.

    Args:
        shares: (H, T, T) of `attention_of`.
        example: the utterance.
        seconds: that a frame lasts.
        name: of layer and model.
        path: the PNG file.
    """
    heads = len(shares)
    about = About(
        f"Attention of {name}",
        f"{example.utterance}, {min(heads, _MOST)} of {heads} heads. Row: a frame that looks; "
        "column: a frame that is looked at; the darker, the larger its share. Lines: where the "
        "alignment has borders of words.",
    )
    length = shares.shape[1] * seconds
    columns = min(heads, _COLUMNS)
    with picture(path, about, min(heads, _MOST), 3.9, 3.7, columns) as axes:
        for number, (one, head) in enumerate(zip(axes, shares, strict=False)):
            one.imshow(
                head,
                cmap="Greys",
                vmin=0,
                vmax=float(np.quantile(head, _DARKEST)),
                extent=(0, length, length, 0),
                interpolation="none",
            )
            one.set_title(f"head {number + 1}", fontsize=SMALL)
            one.set_xlabel("looked at (s)", fontsize=SMALL)
            if number % columns == 0:
                one.set_ylabel("looks (s)", fontsize=SMALL)
            for border in sorted({time for word in example.words for time in word[:2]}):
                for line in (one.axvline, one.axhline):
                    line(border, color="#0072b2", linewidth=0.7, linestyle=":")
