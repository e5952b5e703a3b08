"""The authors' values of every training, and what ours get when the recipes start them.

doc/paper_map.md has the same values in words. A training is started by the command line of its
recipe, from its YAML file, and stopped before its first update: what is compared is its model, its
optimiser, its schedule, its batches and its trainer's options.
"""

import importlib.util
import math
from pathlib import Path

import pytest
import torch

from speechlm.models.text_to_unit import TextToUnit
from speechlm.models.translation_decoder import TranslationDecoder, TranslationDecoderConfig

spec = importlib.util.spec_from_file_location("started", Path(__file__).with_name("started.py"))
started = importlib.util.module_from_spec(spec)
spec.loader.exec_module(started)

# Recipe, stage, program, and the authors' GPUs where the YAML file has the batches of all together.
COMMANDS = {
    "pretrain_base": ("librispeech", "10", "pretrain", 1),
    "pretrain_large": ("librispeech", "10", "pretrain", 1),
    "ctc_base": ("librispeech", "11", "finetune_asr", 8),
    "ctc_large": ("librispeech", "11", "finetune_asr", 8),
    "st_base": ("covost2", "11", "finetune_st", 8),
    "st_large": ("covost2", "11", "finetune_st", 8),
    "text_to_unit": ("librispeech", "8", "train_text_to_unit", 1),
}
PRETRAIN = {
    "optimiser": ("AdamW", (0.9, 0.98), 1e-6, 0.01),
    "updates": 400_000,
    "rates": {0.0: 0.0, 0.04: 0.5, 0.08: 1.0, 0.54: 0.5, 1.0: 0.0},
    "sentences a GPU": None,
    "accumulated": 1,
    "time masks": (0.8, 10),
    "swaps": (0.4, 5),
    "losses": {"feature_penalty": 10.0, "text_ctc": 0.1, "unmasked": 0.0, "temperature": 0.1},
    "crops": (32_000, 250_000, False),
    "activation dropout": 0.0,
    "CTC head dropout": 0.1,
}
CTC = {
    "optimiser": ("Adam", (0.9, 0.98), 1e-8, 0.0),
    "learning rate": 1e-5,
    "rates": {0.0: 0.01, 0.05: 0.505, 0.1: 1.0, 0.4999: 1.0, 0.75: 0.05**0.5, 1.0: 0.05},
    "clip": math.inf,
    "sentences a GPU": None,
    "best": [("valid", "wer", "min")],
    "averaged": 1,
    "dropout": 0.0,
    "attention dropout": 0.0,
    "activation dropout": 0.1,
    "input dropout": 0.0,
    "CTC head dropout": 0.1,
    "output dropout": 0.0,
    "front end": (0.0, False),
}
ST = {
    "optimiser": ("Adam", (0.9, 0.999), 1e-8, 0.0),
    "learning rate": 1e-4,
    "updates": 50_000,
    "rates": {0.0: 0.0, 0.05: 0.5, 0.1: 1.0, 0.55: 0.5, 1.0: 0.0},
    "clip": 1.0,
    "sentences a GPU": 16,
    "time masks": (0.5, 10),
    "channel masks": (0.0, None),
    "best": [("valid", "accuracy", "max")],
    "dropout": 0.0,
    "attention dropout": 0.1,
    "activation dropout": 0.0,
    "input dropout": 0.0,
    "decoder": (6, 768, 3072, 12),
    "decoder dropouts": (0.0, 0.1, 0.0, 0.1),
    "label smoothing": 0.1,
    "front end": (1.0, True),
}
AUTHORS = {
    "pretrain_base": {
        **PRETRAIN,
        "learning rate": 5e-4,
        "clip": 10.0,
        "samples a GPU": 1_400_000,
        "units a GPU": 4375,
        "dropout": 0.1,
        "attention dropout": 0.1,
        "input dropout": 0.1,
        "layer drop": (0.1, 0.1),
        "front end": (0.1, True),
        "heads": (8, 8),
    },
    "pretrain_large": {
        **PRETRAIN,
        "learning rate": 1e-3,
        "clip": 1.0,
        "samples a GPU": 900_000,
        "units a GPU": 2812,
        "accumulated": 4,
        "dropout": 0.0,
        "attention dropout": 0.0,
        "input dropout": 0.0,
        "layer drop": (0.0, 0.0),
        "front end": (1.0, True),
        "heads": (16, 16),
    },
    "ctc_base": {
        **CTC,
        "updates": 30_000,
        "samples a GPU": 1_600_000,
        "accumulated": 1,
        "time masks": (0.65, 10),
        "channel masks": (0.5, 64),
        "layer drop": (0.1, 0.1),
    },
    "ctc_large": {
        **CTC,
        "updates": 200_000,
        "samples a GPU": 900_000,
        "accumulated": 4,
        "time masks": (0.5, 10),
        "channel masks": (0.25, 64),
        "layer drop": (0.0, 0.0),
    },
    "st_base": {
        **ST,
        "samples a GPU": 1_600_000,
        "accumulated": 2,
        "averaged": 1,
        "layer drop": (0.1, 0.1),
    },
    "st_large": {
        **ST,
        "samples a GPU": 900_000,
        "accumulated": 4,
        "averaged": 5,
        "layer drop": (0.1, 0.0),
    },
    "text_to_unit": {
        "optimiser": ("Adam", (0.9, 0.999), 1e-8, 0.0),
        "learning rate": 5e-4,
        "updates": 10_000,
        "rates": {0.0: 0.01, 0.15: 0.505, 0.3: 1.0, 0.65: 0.1, 1.0: 0.01},
        "clip": 5.0,
        "accumulated": 1,
        "best": [("valid", "accuracy", "max")],
        "averaged": 1,
        "shape": (256, 2, 4, 4, 1024, 9),
        "dropout": 0.1,
        "attention dropout": 0.1,
        "predictor dropout": 0.5,
        "label smoothing": 0.1,
    },
}


@pytest.fixture(scope="module")
def trainings(tmp_path_factory, copy_recipe, run_sh, run_main):
    """Function: name -> that training, about to begin."""
    root = tmp_path_factory.mktemp("authors")
    kept = {}

    def start(name):
        if name not in kept:
            recipe, stage, program, workers = COMMANDS[name]
            folder = copy_recipe(root / name, recipe)
            started.make_inputs(folder)
            size = "large" if name.endswith("large") else "base"
            started.make_pretrained(folder / "given", size)
            words = ["--dry_run", "--stage", stage, "--stop_stage", stage, "--config_size", size]
            if program.startswith("finetune"):
                words += ["--systems", "given", "--init_model", "given"]
            if program == "train_text_to_unit":
                words += ["--unit_type", "hidden"]
            shown = run_sh(folder, *words).stderr
            arguments = started.command_of(shown, program)
            kept[name] = started.start(run_main, folder, program, arguments, workers)
        return kept[name]

    return start


def only(values):
    """The one value that all have."""
    (value,) = set(values)
    return value


def speech_model(training):
    """The SpeechLM of a training."""
    model = training.model
    return next(m for m in model.modules() if type(m).__name__ == "SpeechLM")


def optimisation(training):
    """Optimiser, schedule, clip and what is kept."""
    groups, schedule = training.optimizer.param_groups, training.scheduler
    trained = {id(p) for group in groups for p in group["params"]}
    assert trained == {id(p) for p in training.model.parameters()}, "some are left out"
    rates = {share: rate_at(schedule, share) for share in (i / 10_000 for i in range(10_001))}
    options = training.options
    return {
        "optimiser": (
            type(training.optimizer).__name__,
            only(tuple(group["betas"]) for group in groups),
            only(group["eps"] for group in groups),
            only(group["weight_decay"] for group in groups),
        ),
        "learning rate": schedule.base_lrs[0],
        "updates": schedule.max_steps,
        "rates": rates,
        "clip": options.grad_clip,
        "accumulated": options.accum_grad,
        "best": [tuple(criterion) for criterion in options.best_model_criterion],
        "averaged": only([options.keep_nbest_models])
        if isinstance(options.keep_nbest_models, int)
        else max(options.keep_nbest_models),
    }


def rate_at(schedule, share):
    """Share of the rate after a share of the updates."""
    before = schedule.last_epoch
    schedule.last_epoch = min(round(share * schedule.max_steps), schedule.max_steps - 1)
    rate = schedule.get_lr()[0]
    schedule.last_epoch = before
    return rate / schedule.base_lrs[0]


def encoders(training):
    """Dropouts, layer drops, heads and masks of a SpeechLM."""
    model = speech_model(training)
    layers = [*model.encoder.layers, *model.unit_encoder.layers]
    augment = getattr(training.model, "encoder", getattr(training.model, "model", None))
    masks = getattr(augment, "augment", None)
    found = {
        "dropout": only(
            [*(layer.config.dropout for layer in layers), model.encoder.config.dropout]
        ),
        "attention dropout": only(layer.self_attn.dropout for layer in layers),
        "activation dropout": only(layer.config.activation_dropout for layer in layers),
        "input dropout": model.config.input_dropout,
        "layer drop": (model.encoder.layerdrop, model.unit_encoder.layerdrop),
        "heads": tuple(
            only(layer.self_attn.heads for layer in encoder.layers)
            for encoder in (model.encoder, model.unit_encoder)
        ),
        "front end": (
            model.config.feature_grad_mult,
            only(p.requires_grad for p in model.feature_extractor.parameters()),
        ),
    }
    if model.unit_encoder_ctc_head is not None:
        found["CTC head dropout"] = model.unit_encoder_ctc_head.dropout
    if masks is None:
        config = model.config
        found["time masks"] = (config.mask_prob, config.mask_length)
        found["swaps"] = (config.swap_prob, config.swap_length)
        found["losses"] = {
            "feature_penalty": config.feature_penalty_weight,
            "text_ctc": config.text_ctc_weight,
            "unmasked": config.unmasked_weight,
            "temperature": config.temperature,
        }
    else:
        found["time masks"] = (masks.time_prob, masks.time_length)
        used = masks.channel_prob > 0
        found["channel masks"] = (masks.channel_prob, masks.channel_length if used else None)
    return found


def fine_tuning_batches(training):
    """The largest batch of a GPU: padded samples, and sentences where they have a limit."""
    samples = (training.folder / training.args.train_shape_file[0]).read_text()
    lengths = {u: int(n) for u, n in map(str.split, samples.splitlines())}
    batches = list(training.share.sampler)
    padded = max(len(batch) * max(lengths[u] for u in batch) for batch in batches)
    rows = max(len(batch) for batch in batches)
    return {
        "samples a GPU": padded,
        "sentences a GPU": rows if rows * started.SHORT < padded else None,
    }


def pretraining_batches(training):
    """The largest batch of a GPU."""
    epochs = training.batches.epochs
    lengths = epochs.speech.lengths
    batches = epochs.batches.worker_pass(0, 0)
    args = training.args
    return {
        "samples a GPU": max(len(batch) * lengths[batch].max() for batch in batches),
        "sentences a GPU": None,
        "units a GPU": args.batch_units,
        "crops": (args.min_samples, args.max_samples, args.pad_audio),
    }


def measured(name, training):
    """All values of a training."""
    found = optimisation(training)
    kind = name.split("_")[0]
    if kind != "text":
        found |= encoders(training)
    if kind == "pretrain":
        found |= pretraining_batches(training)
    elif kind in ("ctc", "st"):
        found |= fine_tuning_batches(training)
    if kind == "ctc":
        found["output dropout"] = training.model.ctc.dropout_rate
    if kind == "st":
        decoder = training.model.model.decoder
        layers, values = decoder.layers, decoder.config
        attentions = [a for layer in layers for a in (layer.self_attn, layer.encoder_attn)]
        found["decoder"] = (
            len(layers),
            values.embed_dim,
            only(layer.fc1.out_features for layer in layers),
            only(attention.heads for attention in attentions),
        )
        found["decoder dropouts"] = (
            values.dropout,
            only(attention.dropout for attention in attentions),
            values.activation_dropout,
            values.layerdrop,
        )
        found["label smoothing"] = values.label_smoothing
    if kind == "text":
        found |= text_to_unit(training)
    return found


def text_to_unit(training):
    """Shape and dropouts of the text-to-unit model."""
    network = training.model.text_to_unit.encoder
    blocks = [*network.encoder_fft_layers, *network.decoder_fft_layers]
    return {
        "shape": (
            network.embed_tokens.embedding_dim,
            only(block.self_attn.heads for block in blocks),
            len(network.encoder_fft_layers),
            len(network.decoder_fft_layers),
            only(block.ffn.ffn[0].out_channels for block in blocks),
            only(
                c.kernel_size[0] for block in blocks for c in (block.ffn.ffn[0], block.ffn.ffn[2])
            ),
        ),
        "dropout": only([*(b.dropout for b in blocks), *(b.ffn.dropout for b in blocks)]),
        "attention dropout": only(block.self_attn.dropout for block in blocks),
        "predictor dropout": network.duration_predictor.dropout,
        "label smoothing": training.model.text_to_unit.config.label_smoothing,
    }


@pytest.mark.parametrize("name", AUTHORS)
def test_a_training_has_the_authors_values(name, trainings):
    training = trainings(name)
    found = measured(name, training)
    for value, expected in AUTHORS[name].items():
        got = found[value]
        if value == "rates":
            got = {share: got[share] for share in expected}
            assert got == pytest.approx(expected, abs=6e-3), f"{name}: {value}"
        else:
            assert (
                got == pytest.approx(expected) if isinstance(expected, float) else (got == expected)
            ), f"{name}: {value} is {got}, the authors' is {expected}"


def test_text_to_unit_batches(trainings):
    """Of 4 GPUs x 20,000 units together; from the authors' initial values."""
    training = trainings("text_to_unit")
    batches = list(training.batches.sampler)
    assert max(map(len, batches)) * 500 == 80_000
    assert not training.args.quick_start


# Standard deviations of what is drawn, by width: sqrt(2 / fan-in) of a Kaiming convolution,
# 1 / sqrt(3 x inputs) of torch's linear layer, sqrt(2 / (rows + columns)) of Xavier; with the gain
# 2^-0.5 half the variance.
STARTS = {
    "ctc_base": {
        "unit_encoder_ctc_head.1.weight": 0.0361,
        "encoder.pos_conv.0.weight_v": math.sqrt(4 / (128 * 768)),
        "encoder.layers.0.fc1.weight": 0.02,
        "encoder.layers.0.self_attn.q_proj.weight": 0.02,
        "unit_encoder.layers.0.self_attn.q_proj.weight": math.sqrt(1 / (768 + 768)),
        "unit_encoder.layers.0.fc1.weight": 1 / math.sqrt(3 * 768),
    },
    "ctc_large": {
        "unit_encoder_ctc_head.1.weight": math.sqrt(2 / (2 * 1024)),
        "encoder.pos_conv.0.weight_v": math.sqrt(4 / (128 * 1024)),
    },
    "st_base": {
        "decoder.layers.0.fc1.weight": 1 / math.sqrt(3 * 768),
        "decoder.layers.0.fc1.bias": 1 / math.sqrt(3 * 768),
        "decoder.layers.0.fc2.weight": 1 / math.sqrt(3 * 3072),
        "decoder.layers.0.fc2.bias": 1 / math.sqrt(3 * 3072),
        "decoder.layers.0.encoder_attn.k_proj.weight": math.sqrt(1 / (768 + 768)),
        "decoder.layers.0.self_attn.k_proj.weight": math.sqrt(1 / (768 + 768)),
        "decoder.embed_tokens.weight": 768**-0.5,
    },
    "st_large": {
        "decoder.layers.0.encoder_attn.k_proj.weight": math.sqrt(2 / (768 + 1024)),
        "decoder.layers.0.encoder_attn.v_proj.weight": math.sqrt(2 / (768 + 1024)),
        "decoder.layers.0.encoder_attn.q_proj.weight": math.sqrt(2 / (768 + 768)),
        "decoder.layers.0.self_attn.q_proj.weight": math.sqrt(1 / (768 + 768)),
    },
    "text_to_unit": {
        "encoder.embed_tokens.weight": 256**-0.5,
        "encoder.encoder_fft_layers.0.self_attn.q_proj.weight": math.sqrt(1 / (256 + 256)),
        "encoder.encoder_fft_layers.0.self_attn.out_proj.weight": math.sqrt(2 / (256 + 256)),
        "encoder.encoder_fft_layers.0.ffn.ffn.2.weight": math.sqrt(4 / (9 * (256 + 1024))),
    },
}


@pytest.mark.parametrize("name", STARTS)
def test_a_training_starts_from_the_authors_initial_values(name, trainings):
    """Of the widths that the training has; drawn here, for a training's model has no numbers."""
    training = trainings(name)
    torch.manual_seed(1)
    if name == "text_to_unit":
        config = training.model.text_to_unit.config
        weights = TextToUnit(config, 46, started.UNITS).state_dict()
    else:
        weights = started.small(speech_model(training)).state_dict()
    if name.startswith("st"):
        config = training.model.model.decoder.config
        values = {**config.to_dict(), "layers": 1}
        decoder = TranslationDecoder(TranslationDecoderConfig.from_dict(values), 300)
        weights |= {f"decoder.{key}": value for key, value in decoder.state_dict().items()}
    for key, expected in STARTS[name].items():
        assert weights[key].std().item() == pytest.approx(expected, rel=0.06), key
