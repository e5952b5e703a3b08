"""Trainings as recipes start them, and what they have in their hands when they begin.

Their models have no numbers, their data no audio.
"""

import argparse
import contextlib
import dataclasses
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
import yaml

from speechlm.data.archives import ArchiveWriter, merge_archives, write_unit_info
from speechlm.data.kaldi_dir import DataDir
from speechlm.data.target_text import VocabularyOptions, train_vocabulary
from speechlm.data.vocabulary import PHONES, CharacterVocabulary, phone_id
from speechlm.models import SpeechLM, SpeechLMConfig

SHORT, LONG = 20_000, 100_000
"""Samples of utterances: parts of all limits of a batch."""
UNITS = 20
"""Hidden units."""


@dataclass
class Training:
    """What a training has in its hands when its first update is to come."""

    folder: Path
    """Of the recipe."""
    args: argparse.Namespace
    model: torch.nn.Module
    optimizer: torch.optim.Optimizer
    scheduler: Any
    batches: Any
    """Iterator factory of the training batches of one process."""
    share: Any
    """The same of the first of as many workers as the test says."""
    options: Any
    """The trainer's."""


class Started(Exception):
    """The training was about to begin."""


def command_of(shown: str, program: str) -> list[str]:
    """Arguments with which a dry run would call a program of speechlm.bin."""
    found = re.findall(rf"^ .*-m speechlm\.bin\.({program} .*)$", shown, re.MULTILINE)
    assert len(found) == 1, f"{program} in:\n{shown}"
    return shlex.split(found[0])[1:]


def start(run_main, folder: Path, program: str, arguments: list[str], workers: int) -> Training:
    """Run a program in the recipe's folder until its training would begin."""
    from speechlm.tasks import run_asr, run_pretrain, run_st, run_text_to_unit, trainer
    from speechlm.tasks.common import AbsTask

    kept: dict[str, Any] = {}
    build_factory = AbsTask.__dict__["build_iter_factory"].__func__

    def build_iter_factory(cls, args, distributed_option, mode, **kwargs):
        kept["args"] = args
        if mode == "train" and workers > 1:
            several = dataclasses.replace(distributed_option, distributed=True)
            with (
                mock.patch.object(torch.distributed, "get_world_size", lambda: workers),
                mock.patch.object(torch.distributed, "get_rank", lambda: 0),
            ):
                kept["share"] = build_factory(cls, args, several, mode, **kwargs)
        return build_factory(cls, args, distributed_option, mode, **kwargs)

    def run(cls, **kwargs):
        kept.update(kwargs)
        raise Started

    tasks = (
        run_asr.SpeechLMASRTask,
        run_st.SpeechLMSTTask,
        run_pretrain.SpeechLMPretrainTask,
        run_text_to_unit.TextToUnitTask,
    )
    patch = mock.patch.object
    with contextlib.ExitStack() as stack:
        for task in tasks:
            stack.enter_context(patch(task, "build_model", _without_numbers(task)))
        stack.enter_context(patch(AbsTask, "build_iter_factory", classmethod(build_iter_factory)))
        stack.enter_context(patch(trainer.SpeechLMTrainer, "run", classmethod(run)))
        for module in (run_asr, run_st):  # nor are weights to start from read or written
            stack.enter_context(patch(module, "start_from", lambda *_: None))
        stack.enter_context(patch(run_st, "read_encoder", _read_encoder))
        try:
            done = run_main(program, *arguments, cwd=folder)
        except Started:
            done = None
    assert done is None, done.stderr[-3000:]
    factory = kept["train_iter_factory"]
    return Training(
        folder,
        kept["args"],
        kept["model"],
        kept["optimizers"][0],
        kept["schedulers"][0],
        factory,
        kept.get("share", factory),
        kept["trainer_options"],
    )


def _without_numbers(task: type) -> Any:
    """The task's `build_model`, on the meta device."""
    build = task.build_model

    def build_model(cls, args):
        with torch.device("meta"):
            model = build(args)
        model.to = lambda *_, **__: model
        return model

    return classmethod(build_model)


def _read_encoder(folder, changes):
    from speechlm.checkpoints.model_dir import load_config

    return load_config(folder, **changes)[0], {}


def make_data(folder: Path, lengths: list[int]) -> None:
    """A data directory of utterances of these lengths, with transcripts and German; no audio."""
    names = [f"spk-{n:05d}" for n in range(len(lengths))]
    data = DataDir(
        {u: f"none/{u}.flac" for u in names},
        dict.fromkeys(names, "spk"),
        dict.fromkeys(names, "A WORD"),
        dict(zip(names, lengths, strict=True)),
        {"de": dict.fromkeys(names, "ein wort")},
    )
    data.write(folder)
    silence = phone_id["SIL"]
    labels = {u: np.full((n - 400) // 160 + 1, silence) for u, n in data.samples().items()}
    make_units(folder / "units_phone", labels, 0.01, PHONES)


def make_units(folder: Path, labels: dict[str, np.ndarray], shift: float, tokens) -> None:
    """An archive of units."""
    with ArchiveWriter(folder, "units", 1) as writer:
        for name in sorted(labels):
            writer.write(name, labels[name].astype(np.int32))
    merge_archives(folder, 1, "units")
    write_unit_info(folder, shift, list(tokens))


def make_inputs(folder: Path) -> None:
    """What the trainings of a recipe read, in the recipe's folder."""
    for name, lengths in {
        "paired": [LONG] * 200 + [SHORT] * 2000,
        "translated": [LONG] * 200 + [SHORT] * 2000,
        "speech": [LONG] * 200,
        "dev": [LONG] * 4,
    }.items():
        make_data(folder / "dump" / name, lengths)
    (folder / "dump" / "text").mkdir(parents=True)
    for part in ("train", "dev"):
        (folder / "dump" / "text" / f"{part}.txt").write_text("A WORD\n" * 300)
    (folder / "exp" / "lexicon").mkdir(parents=True)
    (folder / "exp" / "lexicon" / "lexicon.txt").write_text("A AH0\nWORD W ER1 D\n")
    vocabulary = train_vocabulary(["ein wort"] * 3, VocabularyOptions(), "test")
    vocabulary.write(folder / "exp" / "vocabulary_de", {})
    make_pairs(folder / "exp" / "unit_pairs")


def make_pairs(folder: Path) -> None:
    """Pairs for the text-to-unit model; ESPnet makes batches of the numbers in units_shape."""
    from speechlm.tokenizers.aligned_units import NAMES, PARTS, SHAPES

    for part in PARTS:
        with contextlib.ExitStack() as stack:
            for name in NAMES:
                writer = stack.enter_context(ArchiveWriter(folder / part, name, 1))
                for n in range(400):
                    writer.write(f"u{n:03d}", np.ones(4, np.int32))
        for name in NAMES:
            merge_archives(folder / part, 1, name)
        lines = [f"u{n:03d} 500\n" for n in range(400)]
        (folder / part / SHAPES).write_text("".join(lines))
    write_unit_info(folder, 0.02, [str(n) for n in range(UNITS)])


def make_pretrained(folder: Path, size: str) -> None:
    """A model folder without weights."""
    config = getattr(SpeechLMConfig, size)()
    folder.mkdir(parents=True)
    values = {"speechlm": config.to_dict(), "kind": "pretrained", "without": []}
    (folder / "config.yaml").write_text(yaml.safe_dump(values))
    (folder / "tokens.txt").write_text("".join(f"{phone}\n" for phone in PHONES))
    characters = "".join(f"{symbol}\n" for symbol in CharacterVocabulary.symbols)
    (folder / "characters.txt").write_text(characters)


def small(model: SpeechLM) -> SpeechLM:
    """A model of the same widths with numbers, a layer in each Transformer."""
    values = {**model.config.to_dict(), "speech_layers": 1, "shared_layers": 1}
    return SpeechLM(SpeechLMConfig.from_dict(values), 12, CharacterVocabulary.n_ids)


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
        "averaged": int(np.max(options.keep_nbest_models)),
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
    return {"samples a GPU": padded, "sentences a GPU": rows if rows * SHORT < padded else None}


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
