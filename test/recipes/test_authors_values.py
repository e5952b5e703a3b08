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
    "best": [("valid", "wer_ctc", "min")],
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
            if program == "pretrain":  # what a GPU has of those that the file is written for
                words += ["--pretrain_args", "--for_workers 1"]
            if program == "train_text_to_unit":
                words += ["--unit_type", "hidden"]
            shown = run_sh(folder, *words).stderr
            arguments = started.command_of(shown, program)
            kept[name] = started.start(run_main, folder, program, arguments, workers)
        return kept[name]

    return start


@pytest.mark.parametrize("name", AUTHORS)
def test_a_training_has_the_authors_values(name, trainings):
    found = started.measured(name, trainings(name))
    expected = AUTHORS[name]
    found["rates"] = {share: found["rates"][share] for share in expected["rates"]}
    same = {"rates": found["rates"] == pytest.approx(expected["rates"], abs=6e-3)}
    wrong = {
        value: f"{found[value]}, the authors' is {authors}"
        for value, authors in expected.items()
        if not same.get(value, found[value] == authors)
    }
    assert not wrong, "\n".join(f"{value}: {how}" for value, how in wrong.items())


def test_one_gpu_makes_the_updates_of_32(tmp_path, copy_recipe, run_sh, run_main):
    """Of 40 GiB: four batches at once, eight times, in place of one batch of each of 32 GPUs."""
    folder = copy_recipe(tmp_path, "librispeech")
    started.make_inputs(folder)
    words = ["--dry_run", "--stage", "10", "--stop_stage", "10", "--pretrain_args", "--gpu_gib 40"]
    arguments = started.command_of(run_sh(folder, *words).stderr, "pretrain")
    training = started.start(run_main, folder, "pretrain", arguments, 1)
    assert (training.args.batches_at_once, training.options.accum_grad) == (4, 8)
    assert training.scheduler.max_steps == 400_000
    assert training.args.max_epoch * training.args.num_iters_per_epoch == 8 * 400_000
    assert started.speech_model(training).mask_groups == 4
    epochs = training.batches.epochs
    largest = max(epochs.batches.worker_pass(0, 0), key=len)
    assert len(largest) == 4 * (1_400_000 // started.LONG)
    assert epochs.lines.at_once == 4 and epochs.lines.max_units == 4375
    assert len(epochs.epoch(1)) == training.args.num_iters_per_epoch


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
    """Of the widths that the training has; drawn here, as its model has no numbers."""
    training = trainings(name)
    torch.manual_seed(1)
    if name == "text_to_unit":
        from speechlm.tasks.text_to_unit import TextToUnitTask

        weights = TextToUnitTask.build_model(training.args).text_to_unit.state_dict()
    else:
        weights = started.small(started.speech_model(training)).state_dict()
    if name.startswith("st"):
        config = training.model.model.decoder.config
        values = {**config.to_dict(), "layers": 1}
        decoder = TranslationDecoder(TranslationDecoderConfig.from_dict(values), 300)
        weights |= {f"decoder.{key}": value for key, value in decoder.state_dict().items()}
    for key, expected in STARTS[name].items():
        assert weights[key].std().item() == pytest.approx(expected, rel=0.06), key
