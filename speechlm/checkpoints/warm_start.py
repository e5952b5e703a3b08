"""Weights of a HuBERT (or of a model of ours) for the front end and the Speech Transformer.

Pre-training starts from them; everything else starts at random. HuBERT's encoder is the Speech
Transformer without its table of relative positions; with that table at zero the two are equal.
Nothing of it, or of the paper's model, has a place in a fast model, which takes from fast ones.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from speechlm.checkpoints.huggingface import load_huggingface
from speechlm.checkpoints.model_dir import SIZES, is_speechlm, read_description, read_weights
from speechlm.data.atomic import output_file
from speechlm.models import SpeechLM, SpeechLMConfig

OURS = ("mask_emb", "feature_extractor.", "layer_norm.", "post_extract_proj.", "encoder.")
"""How the names of the weights that can be taken begin."""
SHAPE = (
    "conv_layers",
    "conv_norm",
    "embed_dim",
    "ffn_dim",
    "heads",
    "pre_norm",
    "pos_conv_kernel",
    "pos_conv_groups",
)
"""Fields of the configuration that a model of the paper's architecture and a HuBERT must share."""
FAST_SHAPE = (
    "mel_channels",
    "subsampling",
    "subsampling_channels",
    "depthwise_kernel",
    "embed_dim",
    "ffn_dim",
    "heads",
)
"""Those that two fast models must share."""
_NETWORKS = {
    "paper": "waveform convolutions, relative positions, layers without convolution",
    "fast": "log-mel features, rotary positions, layers with a depthwise convolution",
}
"""What the weights of an architecture are made for."""
_LAYER_PARTS = {
    "attention.q_proj": "self_attn.q_proj",
    "attention.k_proj": "self_attn.k_proj",
    "attention.v_proj": "self_attn.v_proj",
    "attention.out_proj": "self_attn.out_proj",
    "layer_norm": "self_attn_layer_norm",
    "feed_forward.intermediate_dense": "fc1",
    "feed_forward.output_dense": "fc2",
    "final_layer_norm": "final_layer_norm",
}
_FIXED = {
    "masked_spec_embed": "mask_emb",
    "feature_projection.layer_norm.weight": "layer_norm.weight",
    "feature_projection.layer_norm.bias": "layer_norm.bias",
    "feature_projection.projection.weight": "post_extract_proj.weight",
    "feature_projection.projection.bias": "post_extract_proj.bias",
    "encoder.layer_norm.weight": "encoder.layer_norm.weight",
    "encoder.layer_norm.bias": "encoder.layer_norm.bias",
    "encoder.pos_conv_embed.conv.bias": "encoder.pos_conv.0.bias",
    "encoder.pos_conv_embed.conv.parametrizations.weight.original0": "encoder.pos_conv.0.weight_g",
    "encoder.pos_conv_embed.conv.parametrizations.weight.original1": "encoder.pos_conv.0.weight_v",
    "encoder.pos_conv_embed.conv.weight_g": "encoder.pos_conv.0.weight_g",
    "encoder.pos_conv_embed.conv.weight_v": "encoder.pos_conv.0.weight_v",
}


@dataclass
class WarmStart:
    """Which weights were taken."""

    source: str
    taken: dict[str, Tensor]
    """By our names."""
    left: list[str]
    """Names, in the source, of weights that were not taken."""
    random: list[str]
    """Our names of weights that the source does not have."""

    def write(self, path: str | os.PathLike[str]) -> None:
        """A list of all weights, and a line in the log."""
        log = "%s: %d weights are taken, %d of its weights are not; %d start at random"
        logging.info(log, self.source, len(self.taken), len(self.left), len(self.random))
        parts = (("taken", sorted(self.taken)), ("not taken", self.left), ("random", self.random))
        with output_file(path) as temporary:
            lines = [f"# from {self.source}\n"]
            lines += [f"{what}: {name}\n" for what, names in parts for name in names]
            temporary.write_text("".join(lines), encoding="utf-8")


def warm_start(folder: str, model: SpeechLM) -> WarmStart:
    """Find what `model` can take from a model folder of ours, or from a Hugging Face HuBERT.

    Layers are taken from the first one on, as many as both have. `model` is not changed.

    Args:
        folder: written by pre-training or import_checkpoint; or a folder in Hugging Face's format,
            or a name on its hub.

    Raises:
        ValueError: no such model, or one of another architecture or shape (what differs is named).
    """
    if is_speechlm(folder):
        config = read_description(folder).config
        _check_architecture(f"{folder} is a SpeechLM", config.architecture, model.config)
        shape = FAST_SHAPE if config.is_fast else (*SHAPE, "relative_clip")
        values = {name: getattr(config, name) for name in shape}
        normalize = config.normalize_waveform
        weights = read_weights(folder)[0]
        names: dict[str, str | None] = {n: n if n.startswith(OURS) else None for n in weights}
    else:
        # Before it is looked for, maybe on the hub
        _check_architecture(
            f"{folder} is no folder of a SpeechLM: a HuBERT is", "paper", model.config
        )
        network, normalize = load_huggingface(folder)
        values = huggingface_shape(folder, network.config)
        weights = network.state_dict()
        names = {n: our_name(n, values["conv_norm"]) for n in weights}
        _warn_of_biases(folder, weights)
    _check_shape(folder, values, model.config)
    if normalize != model.config.normalize_waveform:
        logging.warning(
            "%s wants waveforms that are %snormalised, the new model has normalize_waveform %s",
            folder,
            "" if normalize else "not ",
            model.config.normalize_waveform,
        )
    return _choose(folder, names, weights, model)


def our_name(name: str, conv_norm: str) -> str | None:
    """Our name of a weight of transformers' HubertModel, or None if there is no such weight."""
    if name in _FIXED:
        return _FIXED[name]
    parts = name.split(".")
    if name.startswith("feature_extractor.conv_layers.") and len(parts) == 5:
        block, kind = ".".join(parts[:3]), parts[3]
        if kind == "conv" and parts[4] == "weight":
            return f"{block}.0.weight"
        if kind == "layer_norm":
            return f"{block}.2.{'1.' if conv_norm == 'layer' else ''}{parts[4]}"
        return None
    if name.startswith("encoder.layers."):
        part = _LAYER_PARTS.get(".".join(parts[3:-1]))
        return None if part is None else f"encoder.layers.{parts[2]}.{part}.{parts[-1]}"
    return None


def huggingface_shape(folder: str, config: Any) -> dict[str, Any]:
    """The fields SHAPE of a configuration of transformers.

    Raises:
        ValueError: another activation.
    """
    for name in ("hidden_act", "feat_extract_activation"):
        if getattr(config, name) != "gelu":
            raise ValueError(f"{folder}: {name} gelu expected, found {getattr(config, name)}")
    conv = zip(config.conv_dim, config.conv_kernel, config.conv_stride, strict=True)
    return {
        "conv_layers": tuple(tuple(layer) for layer in conv),
        "conv_norm": config.feat_extract_norm,
        "embed_dim": config.hidden_size,
        "ffn_dim": config.intermediate_size,
        "heads": config.num_attention_heads,
        "pre_norm": config.do_stable_layer_norm,
        "pos_conv_kernel": config.num_conv_pos_embeddings,
        "pos_conv_groups": config.num_conv_pos_embedding_groups,
    }


def _check_architecture(what: str, there: str, config: SpeechLMConfig) -> None:
    if there != config.architecture:
        raise ValueError(
            f"--init_speech: {what} of architecture {there} ({_NETWORKS[there]}), the model to "
            f"train of architecture {config.architecture} ({_NETWORKS[config.architecture]}), so "
            f"that no weights can be taken. Give a SpeechLM of architecture {config.architecture}, "
            f"or a --config_size of architecture {there}"
        )


def _check_shape(folder: str, values: Mapping[str, Any], config: SpeechLMConfig) -> None:
    differ = {n: v for n, v in values.items() if v != getattr(config, n)}
    if differ:
        wanted = ", ".join(f"{n}: {_plain(v)}" for n, v in differ.items())
        have = ", ".join(f"{n}: {_plain(getattr(config, n))}" for n in differ)
        raise ValueError(
            f"the model to train differs from {folder}, so that its weights cannot be taken. "
            f"Change model_conf to {wanted} (now {have})"
        )


def _plain(value: Any) -> Any:
    return [list(layer) for layer in value] if isinstance(value, tuple) else value


def _warn_of_biases(folder: str, weights: Mapping[str, Tensor]) -> None:
    biases = [n for n in weights if n.endswith("conv.bias") and n.startswith("feature_extractor.")]
    if any(bool(weights[n].any()) for n in biases):
        logging.warning(
            "%s has biases in the convolutions of its front end, which SpeechLM has not: its "
            "features will differ until training has made up for it",
            folder,
        )


def _choose(
    folder: str, names: Mapping[str, str | None], weights: Mapping[str, Tensor], model: SpeechLM
) -> WarmStart:
    own = {name: value.shape for name, value in model.state_dict().items()}
    taken = {ours: weights[name] for name, ours in names.items() if ours in own}
    wrong = [f"{n} {tuple(w.shape)}" for n, w in taken.items() if w.shape != own[n]]
    if wrong or not taken:
        what = f"weights of another shape: {', '.join(wrong[:5])}" if wrong else "no weights of use"
        raise ValueError(f"{folder}: {what}; it does not fit its own configuration")
    left = sorted(name for name, ours in names.items() if ours not in own)
    return WarmStart(folder, taken, left, sorted(own.keys() - taken.keys()))


def check_architecture(size: str, model: SpeechLMConfig, init: str | os.PathLike[str]) -> None:
    """Refuse to start from a model of another architecture than the training's options are for.

    Args:
        size: `--config_size`, on the command line or in the configuration.
        model: that of `init`.
        init: its folder.

    Raises:
        ValueError: they are of different architectures.
    """
    expected = SIZES[size]().architecture
    if model.architecture != expected:
        known = {name: make().architecture for name, make in SIZES.items()}
        names = [name for name, architecture in known.items() if architecture != expected]
        raise ValueError(
            f"--config_size {size} (its masks, rates and lengths) is for models of architecture "
            f"{expected}, but {init} holds one of architecture {model.architecture}: give "
            f"--config_size and --config of {', '.join(names[:-1])} or {names[-1]}"
        )
