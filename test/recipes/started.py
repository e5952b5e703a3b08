"""Trainings as recipes start them, up to their first update: models without numbers, no audio."""

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
