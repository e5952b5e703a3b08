"""A whole training of the text-to-unit model: from pairs to a model folder and its report."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from speechlm.checkpoints.text_to_unit_dir import save_text_to_unit
from speechlm.checkpoints.trainer_files import load_weights_only
from speechlm.data.archives import read_unit_info
from speechlm.data.atomic import output_file
from speechlm.data.kaldi_dir import read_table
from speechlm.data.vocabulary import UnitVocabulary
from speechlm.models.text_to_unit import TextToUnit
from speechlm.score.text_to_unit import evaluate
from speechlm.tasks.common import command_line, is_first_worker, parse_espnet
from speechlm.tasks.text_to_unit import TextToUnitTask
from speechlm.tokenizers.aligned_units import NAMES, PARTS, SHAPES

AVERAGE = "valid.accuracy.ave.pth"
"""Link to the weights that the training ends with."""
REPORT = "RESULTS.md"


def train_text_to_unit(
    pairs: Path,
    output: str | os.PathLike[str],
    config: str | None,
    options: Mapping[str, Any],
    espnet: Sequence[str] = (),
) -> Path:
    """Train the model; an interrupted training goes on where it was.

    Args:
        pairs: folder of make_unit_pairs.
        output: experiment folder.
        config: YAML file.
        options: options of `TextToUnitTask` by name; None: not given.
        espnet: further command line options of ESPnet.

    Returns:
        The folder, with what `text_to_unit_dir` describes and RESULTS.md in it.

    Raises:
        ValueError: no pairs, unknown options, or units other than those that the training in
            the output folder began with.
    """
    folder = Path(output)
    frame_shift, units = read_unit_info(pairs)
    if (folder / "tokens.txt").exists():
        UnitVocabulary.read(folder / "tokens.txt").check_same(units)
    arguments = command_line({"output_dir": output, "pairs": pairs, **options})
    for part in PARTS:
        if not read_table(pairs / part / f"{NAMES[0]}.scp"):
            raise ValueError(f"{pairs / part}: no pairs")
        arguments += [f"--{part}_shape_file", str(pairs / part / SHAPES)]
        for name in NAMES:
            source = f"{pairs / part / name}.scp,{name},kaldi_ark"
            arguments += [f"--{part}_data_path_and_name_and_type", source]
    args = parse_espnet(TextToUnitTask, [*arguments, *espnet], config)
    TextToUnitTask.main(args)
    if is_first_worker() and not args.dry_run:
        model = TextToUnitTask.build_model(args)
        model.load_state_dict(load_weights_only(folder / AVERAGE))
        _finish(folder, pairs, model.text_to_unit.eval(), units, frame_shift, args.seed)
    return folder


def _finish(
    folder: Path,
    pairs: Path,
    model: TextToUnit,
    units: UnitVocabulary,
    frame_shift: float,
    seed: int,
) -> None:
    """Save the model, and what it does on the held-out pairs."""
    report = evaluate(model, pairs)
    origin = {"trained_with": {"torch": str(torch.__version__), "seed": seed}}
    save_text_to_unit(folder, model, units, frame_shift, **origin)
    with output_file(folder / REPORT) as path:
        path.write_text(report.table(), encoding="utf-8")
