"""Checkpoints in the forms of the authors' release, with tiny random weights.

Names, shapes and order are written down here from the lists of the real models' parameters;
the configuration has the keys of their published speechlmp_base_cfg.pt that a model depends on.
"""

import argparse
import contextlib
import copy
import sys
import types
from collections import OrderedDict

import torch

TINY = {
    "channels": 12,
    "dim": 16,
    "ffn": 32,
    "heads": 2,
    "speech": 2,
    "shared": 1,
    "final": 8,
    "kernel": 8,
    "groups": 2,
    "positions": 60,
}
BASE = {
    "channels": 512,
    "dim": 768,
    "ffn": 3072,
    "heads": 8,
    "speech": 6,
    "shared": 6,
    "final": 256,
    "kernel": 128,
    "groups": 16,
    "positions": 3000,
}
LARGE = BASE | {"dim": 1024, "ffn": 4096, "heads": 16, "speech": 12, "shared": 12}
STRIDES = [(10, 5)] + [(3, 2)] * 4 + [(2, 2)] * 2


def model_cfg(size, large=False):
    """cfg.model."""
    rate = 0.0 if large else 0.1
    text = {
        "_name": None,
        "activation_fn": "gelu",
        "dropout": rate,
        "attention_dropout": rate,
        "activation_dropout": 0.0,
        "adaptive_input": False,
        "max_source_positions": size["positions"],
        "layernorm_embedding": True,
        "no_scale_embedding": True,
        "no_token_positional_embeddings": False,
        "checkpoint_activations": False,
        "quant_noise": {"_name": None, "pq": 0.0, "pq_block_size": 8, "scalar": 0.0},
        "encoder": {
            "_name": None,
            "embed_path": None,
            "embed_dim": size["dim"],
            "ffn_embed_dim": size["ffn"],
            "layers": size["shared"],
            "attention_heads": size["heads"],
            "normalize_before": large,
            "learned_pos": True,
            "layerdrop": rate,
            "layers_to_keep": None,
        },
        "decoder": {"_name": None, "embed_dim": 512, "layers": 6, "learned_pos": False},
    }
    c = size["channels"]
    return {
        "_name": "speechlm",
        "label_rate": 50 if large else 100,
        "extractor_mode": "layer_norm" if large else "default",
        "encoder_layers": size["speech"],
        "encoder_embed_dim": size["dim"],
        "encoder_ffn_embed_dim": size["ffn"],
        "encoder_attention_heads": size["heads"],
        "activation_fn": "gelu",
        "layer_type": "transformer",
        "dropout": rate,
        "attention_dropout": rate,
        "activation_dropout": 0.0,
        "encoder_layerdrop": rate,
        "dropout_input": rate,
        "dropout_features": rate,
        "final_dim": size["final"],
        "untie_final_proj": True,
        "layer_norm_first": large,
        "conv_bias": False,
        "logit_temp": 0.1,
        "target_glu": False,
        "conv_feature_layers": f"[({c},10,5)] + [({c},3,2)] * 4 + [({c},2,2)] * 2",
        "feature_grad_mult": 1.0 if large else 0.1,
        "mask_length": 10,
        "mask_prob": 0.8,
        "mask_selection": "static",
        "mask_other": 0.0,
        "no_mask_overlap": False,
        "conv_pos": size["kernel"],
        "conv_pos_groups": size["groups"],
        "latent_temp": (2.0, 0.5, 0.999995),
        "skip_masked": False,
        "skip_nomask": False,
        "required_seq_len_multiple": 2,
        "attn_type": "",
        "pos_enc_type": "abs",
        "fp16": False,
        "use_rel_pos_enc": True,
        "scaling_for_att": 32.0 if large else 1.0,
        "text_transformer": text,
        "add_unit_encoder": True,
        "add_decoder": False,
        "add_text_ctc": True,
        "text_ctc_conv_kernel": 2,
        "mask_u2t": True,
        "compute_mum": False,
        "mix_with_unit": True,
        "use_pred_unit": False,
        "l2_embedding": False,
    }


def full_cfg(size=TINY, large=False):
    """cfg of a pre-training."""
    task = {
        "_name": "joint_sc2t_pretraining",
        "data": "/data",
        "labels": ["phn"],
        "label_rate": 50 if large else 100,
        "normalize": large,
        "fine_tuning": False,
        "text_cfg": {"_name": None, "mask_length": "span-poisson"},
    }
    criterion = {"_name": "speechlm_criterion", "loss_weights": [10.0], "text_ctc_weight": 0.1}
    return {
        "_name": None,
        "common": {"seed": 1337, "fp16": True},
        "model": model_cfg(size, large),
        "task": task,
        "criterion": criterion,
    }


def _layers(name, count, size, norm_k=True):
    d, f, h = size["dim"], size["ffn"], size["dim"] // size["heads"]
    for i in range(count):
        base = f"{name}.layers.{i}"
        for part in ("k_proj", "v_proj", "q_proj", "out_proj"):
            yield f"{base}.self_attn.{part}.weight", (d, d)
            yield f"{base}.self_attn.{part}.bias", (d,)
        yield from _norm(f"{base}.self_attn_layer_norm", d)
        yield from (
            (f"{base}.fc1.weight", (f, d)),
            (f"{base}.fc1.bias", (f,)),
            (f"{base}.fc2.weight", (d, f)),
            (f"{base}.fc2.bias", (d,)),
        )
        yield from _norm(f"{base}.final_layer_norm", d)
        yield from _norm(f"{base}.norm_k", h)


def _norm(name, width):
    return ((f"{name}.weight", (width,)), (f"{name}.bias", (width,)))


def keys(size=TINY, large=False, units=24, characters=33):
    """(name, shape) of every tensor of a pre-trained model, in their order."""
    d, c, f = size["dim"], size["channels"], size["final"]
    h = d // size["heads"]
    yield "mask_emb", (d,)
    for i, (kernel, _) in enumerate(STRIDES):
        yield f"feature_extractor.conv_layers.{i}.0.weight", (c, c if i else 1, kernel)
        if large:
            yield from _norm(f"feature_extractor.conv_layers.{i}.2.1", c)
        elif i == 0:
            yield from _norm("feature_extractor.conv_layers.0.2", c)
    yield from (("post_extract_proj.weight", (d, c)), ("post_extract_proj.bias", (d,)))
    yield "encoder.pos_conv.0.bias", (d,)
    yield "encoder.pos_conv.0.weight_g", (1, 1, size["kernel"])
    yield "encoder.pos_conv.0.weight_v", (d, d // size["groups"], size["kernel"])
    yield from _layers("encoder", size["speech"], size)
    yield from _norm("encoder.layer_norm", d)
    yield "encoder.pos_emb.pe_k.weight", (320, h)
    yield from _norm("layer_norm", c)
    for i in range(2):
        yield f"final_proj_list.{i}.weight", (f, d)
        yield f"final_proj_list.{i}.bias", (f,)
    yield from ((f"label_embs_list.{i}", (units, f)) for i in range(2))
    yield "unit_embed_tokens.weight", (units, d)
    yield "unit_encoder.version", (1,)
    yield "unit_encoder.embed_tokens.weight", (units, d)
    yield "unit_encoder.embed_positions.weight", (size["positions"] + 2, d)
    yield from _norm("unit_encoder.layernorm_embedding", d)
    yield from _layers("unit_encoder", size["shared"], size)
    if large:
        yield from _norm("unit_encoder.layer_norm", d)
    yield "unit_encoder.pos_emb.pe_k.weight", (320, h)
    yield "unit_encoder_ctc_head.1.weight", (d, d, 2)
    yield from _norm("unit_encoder_ctc_head.3.2", d)
    yield "unit_encoder_ctc_head.5.weight", (characters, d)
    yield "unit_encoder_ctc_head.5.bias", (characters,)


def decoder_keys(tokens, dim=16, ffn=24, heads=2, layers=2, encoder=16):
    """(name, shape) of a translation decoder."""
    yield "decoder.version", (1,)
    yield "decoder.embed_tokens.weight", (tokens, dim)
    yield "decoder.embed_positions._float_tensor", (1,)
    for i in range(layers):
        base = f"decoder.layers.{i}"
        for attention in ("self_attn", "encoder_attn"):
            for part in ("k_proj", "v_proj", "q_proj", "out_proj"):
                cross = attention == "encoder_attn" and part in ("k_proj", "v_proj")
                yield f"{base}.{attention}.{part}.weight", (dim, encoder if cross else dim)
                yield f"{base}.{attention}.{part}.bias", (dim,)
            yield from _norm(f"{base}.{attention}_layer_norm", dim)
        yield from (
            (f"{base}.fc1.weight", (ffn, dim)),
            (f"{base}.fc1.bias", (ffn,)),
            (f"{base}.fc2.weight", (dim, ffn)),
            (f"{base}.fc2.bias", (dim,)),
        )
        yield from _norm(f"{base}.final_layer_norm", dim)
        yield from _norm(f"{base}.norm_k", dim // heads)
    yield "decoder.output_projection.weight", (tokens, dim)
    yield "decoder.pos_emb.pe_k.weight", (48, dim // heads)


def random(names, seed=0):
    """OrderedDict of random tensors; tied tables are one tensor."""
    generator = torch.Generator().manual_seed(seed)
    weights = OrderedDict(
        (name, torch.randn(shape, generator=generator) * 0.2) for name, shape in names
    )
    for name in weights:
        if name.endswith("version"):
            weights[name] = torch.tensor([3.0])
        if name.endswith(("weight_g", "norm.weight")):
            weights[name] = weights[name].abs() + 0.5
    if "unit_embed_tokens.weight" in weights:
        weights["unit_encoder.embed_tokens.weight"] = weights["unit_embed_tokens.weight"]
    weights._metadata = OrderedDict({"": {"version": 1}})  # as Module.state_dict() has it
    return weights


def cleaned(weights):
    """The weights that a cleaned checkpoint keeps."""
    dropped = (
        "label_embs_list.",
        "unit_embed_tokens.",
        "unit_encoder.embed_tokens.",
        "unit_encoder_ctc_head.",
    )
    return OrderedDict((n, w) for n, w in weights.items() if not n.startswith(dropped))


@contextlib.contextmanager
def fairseq():
    """fairseq's Dictionary under its true module name, while a file is written."""

    class Dictionary:
        def __init__(self, symbols):
            self.bos_word, self.unk_word, self.pad_word, self.eos_word = "<s>", "<unk>", "<pad>", 0
            self.symbols, self.count = list(symbols), [1] * len(symbols)
            self.indices = {s: i for i, s in enumerate(symbols)}
            self.bos_index, self.pad_index, self.eos_index, self.unk_index = range(4)
            self.nspecial = 4

    Dictionary.__module__, Dictionary.__qualname__ = "fairseq.data.dictionary", "Dictionary"
    parts = ("fairseq", "fairseq.data", "fairseq.data.dictionary")
    modules = {name: types.ModuleType(name) for name in parts}
    modules[parts[-1]].Dictionary = Dictionary
    sys.modules.update(modules)
    try:
        yield Dictionary
    finally:
        for name in modules:
            del sys.modules[name]


SPECIALS = ["<s>", "<pad>", "</s>", "<unk>"]
LETTERS = [*SPECIALS, *"|ETAONIHSRDLUMCWFGYPBVK'XJQZ", "<mask>"]


def dictionaries(units, make):
    """task_state of a pre-training; `make` is Dictionary."""
    n = units - 5
    return {
        "text_src_dictionary": make([*SPECIALS, *(f"P{i}" for i in range(n)), "<mask>"]),
        "text_dictionary": make(LETTERS),
        "dictionaries": [make([*SPECIALS, *map(str, range(n)), "<mask>"])],
        "hubert_tokenizer": None,
    }


def save(content, path, older=False):
    """torch.save in the zip or the older format."""
    torch.save(content, path, _use_new_zipfile_serialization=not older)
    return path


def training_state(weights):
    """What a full checkpoint has beside cfg, model and task_state."""
    return {
        "criterion": None,
        "optimizer_history": [{"criterion_name": "SpeechLMCriterion", "num_updates": 400000}],
        "extra_state": {"train_iterator": {"epoch": 298}, "val_loss": 2.348, "metrics": None},
        "last_optimizer_state": {"state": {0: {"step": 4, "exp_avg": torch.zeros(1000)}}},
    }


def save_full(path, weights, cfg, units=24, older=False, args=None):
    """A pre-training's checkpoint."""
    with fairseq() as make:
        state = dictionaries(units, make)
        content = {"args": args, "cfg": cfg, "model": weights, "task_state": state}
        return save(content | training_state(weights), path, older)


def save_ctc(path, weights, w2v_args, older=False, letters=LETTERS, copies=True):
    """A CTC fine-tuning's checkpoint."""
    model = OrderedDict((f"w2v_encoder.w2v_model.{n}", w) for n, w in weights.items())
    head = "unit_encoder_ctc_head."
    if copies:
        for name in [n for n in weights if n.startswith(head)]:
            model[f"w2v_encoder.proj.{name.removeprefix(head)}"] = weights[name]
    cfg = {
        "_name": None,
        "task": {"_name": "joint_sc2t_pretraining", "normalize": False},
        "model": {
            "_name": "speechlm_ctc",
            "w2v_path": "/exp/checkpoint.pt",
            "apply_mask": True,
            "w2v_args": w2v_args,
        },
    }
    with fairseq() as make:
        state = {"target_dictionary": make(letters), "hubert_tokenizer": None}
        content = {"args": None, "cfg": cfg, "model": model, "task_state": state}
        return save(content | training_state(weights), path, older)


def save_translation(path, weights, decoder, w2v_args, older=False):
    """A translation fine-tuning's checkpoint: its task is a Namespace, without dictionaries."""
    model = OrderedDict((f"encoder.w2v_model.{n}", w) for n, w in weights.items())
    model.update(decoder)
    sizes = {
        "activation_fn": "gelu",
        "use_rel_pos_enc": True,
        "encoder_embed_dim": 16,
        "decoder_embed_dim": 16,
        "decoder_output_dim": 16,
        "decoder_ffn_embed_dim": 24,
        "decoder_layers": 2,
        "decoder_layerdrop": 0.1,
        "decoder_attention_heads": 2,
        "decoder_learned_pos": False,
        "decoder_normalize_before": False,
        "dropout": 0.0,
        "attention_dropout": 0.1,
        "activation_dropout": 0.0,
        "share_decoder_input_output_embed": False,
    }
    cfg = {
        "_name": None,
        "task": argparse.Namespace(data="/data", task="speech_to_text"),
        "model": {
            "_name": "speechlm_st_legacy",
            "w2v_path": "/exp/checkpoint.pt",
            "w2v_args": w2v_args,
            **sizes,
        },
    }
    content = {"args": None, "cfg": cfg, "model": model, "task_state": {}}
    return save(content | training_state(weights), path, older)


def as_namespace(cfg):
    """A configuration as argparse's Namespace of Namespaces."""
    values = copy.deepcopy(cfg)
    return argparse.Namespace(
        **{k: as_namespace(v) if isinstance(v, dict) else v for k, v in values.items()}
    )
