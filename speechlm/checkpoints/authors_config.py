"""The configuration of the authors' checkpoints (fairseq's names) and `SpeechLMConfig`.

Their values that change what the network computes, and that this project's network does not
have, are refused by name; values without effect on the network are not looked at.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

from speechlm.models import SpeechLMConfig
from speechlm.models.translation_decoder import TranslationDecoderConfig

_MAX_CONVOLUTIONS = 64
_FIXED: dict[str, Any] = {
    "activation_fn": "gelu",
    "layer_type": "transformer",
    "conv_bias": False,
    "use_rel_pos_enc": True,
    "add_unit_encoder": True,
    "add_decoder": False,
    "target_glu": False,
    "use_pred_unit": False,
    "l2_embedding": False,
    "mask_u2t": True,
    "compute_mum": False,
    "text_ctc_conv_kernel": 2,
    "mask_selection": "static",
    "no_mask_overlap": False,
    "attn_type": "",
    "pos_enc_type": "abs",
    "text_transformer.activation_fn": "gelu",
    "text_transformer.layernorm_embedding": True,
    "text_transformer.no_scale_embedding": True,
    "text_transformer.no_token_positional_embeddings": False,
    "text_transformer.encoder.learned_pos": True,
}
"""Values that every released model has; another one would be another network or loss."""
_EQUAL = {
    "text_transformer.encoder.embed_dim": "encoder_embed_dim",
    "text_transformer.encoder.ffn_embed_dim": "encoder_ffn_embed_dim",
    "text_transformer.encoder.attention_heads": "encoder_attention_heads",
    "text_transformer.encoder.normalize_before": "layer_norm_first",
}
"""Values of the Shared Transformer that are those of the Speech Transformer here."""
_SAME = {
    "embed_dim": "encoder_embed_dim",
    "ffn_dim": "encoder_ffn_embed_dim",
    "heads": "encoder_attention_heads",
    "speech_layers": "encoder_layers",
    "shared_layers": "text_transformer.encoder.layers",
    "pre_norm": "layer_norm_first",
    "pos_conv_kernel": "conv_pos",
    "pos_conv_groups": "conv_pos_groups",
    "max_positions": "text_transformer.max_source_positions",
    "dropout": "dropout",
    "attention_dropout": "attention_dropout",
    "activation_dropout": "activation_dropout",
    "input_dropout": "dropout_input",
    "speech_layerdrop": "encoder_layerdrop",
    "shared_layerdrop": "text_transformer.encoder.layerdrop",
    "temperature": "logit_temp",
    "mask_prob": "mask_prob",
    "mask_length": "mask_length",
    "feature_grad_mult": "feature_grad_mult",
    "label_rate": "label_rate",
}
"""Our field -> their key, where the value is the same."""
_NORMS = {"default": "group", "layer_norm": "layer"}
_DECODER_FIXED = {
    "activation_fn": "gelu",
    "use_rel_pos_enc": True,
    "decoder_learned_pos": False,
    "decoder_normalize_before": False,
    "no_token_positional_embeddings": False,
    "share_decoder_input_output_embed": False,
}
_DECODER_SAME = {
    "encoder_dim": "encoder_embed_dim",
    "embed_dim": "decoder_embed_dim",
    "ffn_dim": "decoder_ffn_embed_dim",
    "layers": "decoder_layers",
    "heads": "decoder_attention_heads",
    "dropout": "dropout",
    "attention_dropout": "attention_dropout",
    "activation_dropout": "activation_dropout",
    "layerdrop": "decoder_layerdrop",
}
"""The released decoder takes its dropouts from the encoder's options, so they are read there."""
_WEIGHTS = {
    "feature_penalty_weight": "loss_weights",
    "text_ctc_weight": "text_ctc_weight",
    "unmasked_weight": "pred_nomask_weight",
}


def to_config(
    model: Mapping[str, Any],
    normalize: bool,
    criterion: Mapping[str, Any] | None = None,
    source: str = "the checkpoint",
) -> SpeechLMConfig:
    """Our configuration for theirs.

    Args:
        model: `cfg.model` of a pre-trained checkpoint, plain values.
        normalize: `cfg.task.normalize`.
        criterion: `cfg.criterion` of a pre-training, for the weights of the losses.
        source: the file, for messages.

    Raises:
        ValueError: a key is missing or has a value that no SpeechLM has; the key is named.
    """
    _check_fixed(model, _FIXED, source)
    for key, other in _EQUAL.items():
        here, there = _get(model, key, source), _get(model, other, source)
        if here != there:
            raise ValueError(
                f"{source}: cfg.model.{key} is {here!r} and {other} is {there!r}; expected equal"
            )
    mode = _get(model, "extractor_mode", source)
    if mode not in _NORMS:
        raise ValueError(f"{source}: cfg.model.extractor_mode is {mode!r}; {list(_NORMS)} expected")
    values = {name: _get(model, key, source) for name, key in _SAME.items()}
    values["label_rate"] = _whole(values["label_rate"])
    swaps = _get(model, "mix_with_unit", source, True)
    unit_dim = _get(model, "final_dim", source)
    if unit_dim in (0, values["embed_dim"]):
        raise ValueError(
            f"{source}: cfg.model.final_dim is {unit_dim}, the width of the model: the release "
            "ties two tables then, which this network does not do"
        )
    values |= {
        "conv_layers": conv_layers(_get(model, "conv_feature_layers", source), source),
        "conv_norm": _NORMS[mode],
        "normalize_waveform": bool(normalize),
        "unit_dim": unit_dim,
        "swap_length": max(1, _number(values["mask_length"], "mask_length", source) // 2),
        "swap_prob": _number(values["mask_prob"], "mask_prob", source) / 2 if swaps else 0.0,
    }
    for name, key in _WEIGHTS.items():
        given = (criterion or {}).get(key)
        given = given[0] if isinstance(given, list) and len(given) == 1 else given
        if isinstance(given, int | float):
            values[name] = float(given)
    try:
        return SpeechLMConfig.from_dict(values)
    except ValueError as error:
        raise ValueError(f"{source}: its configuration is not a SpeechLM's: {error}") from None


def to_authors(config: SpeechLMConfig) -> dict[str, Any]:
    """`cfg` (model and task) of a cleaned checkpoint for our configuration.

    It has what the authors' stand-alone `SpeechLM.py` reads. What is ours alone (`ignore_padding`)
    is lost: their code treats padding as it always does.

    Raises:
        ValueError: see `check_authors_network`.
    """
    check_authors_network(config, "this model")
    model: dict[str, Any] = {"_name": "speechlm", "skip_masked": False, "skip_nomask": False}
    for key, value in _FIXED.items():
        _set(model, key, value)
    for name, key in _SAME.items():
        _set(model, key, getattr(config, name))
    for key, other in _EQUAL.items():
        _set(model, key, model[other])
    mode = next(theirs for theirs, ours in _NORMS.items() if ours == config.conv_norm)
    model |= {
        "extractor_mode": mode,
        "conv_feature_layers": str([tuple(layer) for layer in config.conv_layers]),
        "final_dim": config.unit_dim,
        "dropout_features": config.input_dropout,
        "untie_final_proj": True,
        "mix_with_unit": config.swap_prob > 0.0,
        "add_text_ctc": True,
        "mask_other": 0.0,
        "mask_min_space": 1,
        "mask_channel_length": 10,
        "mask_channel_prob": 0.0,
        "mask_channel_selection": "static",
        "mask_channel_other": 0.0,
        "no_mask_channel_overlap": False,
        "mask_channel_min_space": 1,
        "checkpoint_activations": False,
        "required_seq_len_multiple": 2,
        "fp16": False,
        "scaling_for_att": 32.0 if config.pre_norm else 1.0,
    }
    text = model["text_transformer"]
    text |= {
        "dropout": config.dropout,
        "attention_dropout": config.attention_dropout,
        "activation_dropout": config.activation_dropout,
        "adaptive_input": False,
        "checkpoint_activations": False,
        "offload_activations": False,
        "quant_noise": {"pq": 0.0, "pq_block_size": 8, "scalar": 0.0},
        "min_params_to_wrap": 100000000,
        "relu_dropout": 0.0,
        "export": False,
    }
    text["encoder"] |= {"embed_path": None, "layers_to_keep": None}
    return {"model": model, "task": {"normalize": config.normalize_waveform}}


def check_authors_network(config: SpeechLMConfig, source: str) -> None:
    """Make sure that the authors' code has a network for a configuration.

    Args:
        config: of the model.
        source: the model's folder, for messages.

    Raises:
        ValueError: it is a fast model's.
    """
    if config.is_fast:
        raise ValueError(
            f"{source} is of architecture fast, with log-mel features, rotary positions and a "
            "softmax over units; the authors' form is for the paper's network alone, which has "
            "waveform convolutions, relative positions and cosines instead. Open the folder itself "
            "with speechlm.SpeechLM.from_pretrained"
        )


def to_decoder_config(model: Mapping[str, Any], source: str) -> TranslationDecoderConfig:
    """The translation decoder's configuration from `cfg.model` of a translation checkpoint.

    Values that the checkpoint does not give are the release's defaults.

    Raises:
        ValueError: as `to_config`.
    """
    _check_fixed(model, _DECODER_FIXED, source)
    values = {name: model[key] for name, key in _DECODER_SAME.items() if key in model}
    width = values.get("embed_dim", TranslationDecoderConfig.embed_dim)
    if model.get("decoder_output_dim", width) != width:
        raise ValueError(
            f"{source}: cfg.model.decoder_output_dim is {model['decoder_output_dim']}, "
            f"decoder_embed_dim {width}; expected equal"
        )
    names = ("dropout", "attention_dropout", "activation_dropout", "layerdrop")
    try:
        return TranslationDecoderConfig(**{**dict.fromkeys(names, 0.0), **values})
    except ValueError as error:
        raise ValueError(f"{source}: its decoder is not SpeechLM's: {error}") from None


def conv_layers(text: Any, source: str) -> list[tuple[int, int, int]]:
    """Their expression of the front end, e.g. "[(512,10,5)] + [(512,3,2)] * 4", without eval.

    Raises:
        ValueError: anything but lists of triples of integers, sums, and products with integers.
    """
    try:
        layers = _value(ast.parse(text, mode="eval").body)
    except (SyntaxError, TypeError, ValueError, RecursionError, MemoryError):
        layers = None
    triples = isinstance(layers, list) and all(
        isinstance(layer, tuple) and len(layer) == 3 and all(type(n) is int for n in layer)
        for layer in layers
    )
    if not triples or not layers:
        raise ValueError(
            f"{source}: cfg.model.conv_feature_layers is {str(text)[:120]!r}; expected a list of "
            "(channels, kernel, stride), such as [(512,10,5)] + [(512,3,2)] * 4"
        )
    return layers


def _value(node: ast.expr) -> Any:
    match node:
        case ast.Constant(value=int(number)):
            return number
        case ast.Tuple(elts=items):
            return tuple(_value(item) for item in items)
        case ast.List(elts=items):
            return [_value(item) for item in items]
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            first, second = _value(left), _value(right)
            if isinstance(first, list) and isinstance(second, list):
                return first + second
        case ast.BinOp(left=left, op=ast.Mult(), right=right):
            first, count = _value(left), _value(right)
            known = isinstance(first, list) and isinstance(count, int)
            if known and len(first) * count <= _MAX_CONVOLUTIONS:
                return first * count
    raise ValueError("no list of convolutions")


def _check_fixed(model: Mapping[str, Any], values: Mapping[str, Any], source: str) -> None:
    for key, value in values.items():
        found = _get(model, key, source, value)
        if found != value:
            raise ValueError(f"{source}: cfg.model.{key} is {found!r}; only {value!r} is known")


_REQUIRED = object()


def _get(values: Mapping[str, Any], key: str, source: str, default: Any = _REQUIRED) -> Any:
    """The value of a key with dots."""
    found: Any = values
    for part in key.split("."):
        if not isinstance(found, Mapping) or part not in found:
            if default is _REQUIRED:
                raise ValueError(f"{source}: cfg.model.{key} is missing")
            return default
        found = found[part]
    return found


def _set(values: dict[str, Any], key: str, value: Any) -> None:
    *path, last = key.split(".")
    for part in path:
        values = values.setdefault(part, {})
    values[last] = value


def _number(value: Any, key: str, source: str) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{source}: cfg.model.{key}: a number expected, got {value!r}")
    return value


def _whole(value: Any) -> Any:
    """50.0 as 50: fairseq's command line makes the label rate a float."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
