"""A whole training of the text-to-unit model: from pairs to a model folder and its report."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from speechlm.checkpoints.text_to_unit_dir import StoredTextToUnit, save_text_to_unit
from speechlm.checkpoints.trainer_files import load_weights_only
from speechlm.data.archives import read_unit_info
from speechlm.data.atomic import write_text
from speechlm.data.kaldi_dir import read_table
from speechlm.data.monophones import MONOPHONES
from speechlm.data.vocabulary import UnitVocabulary
from speechlm.models.text_to_unit import TextToUnit
from speechlm.score.text_to_unit import evaluate
from speechlm.tasks.common import data_options, is_first_worker, parse_training
from speechlm.tasks.text_to_unit import TextToUnitTask
from speechlm.tokenizers.aligned_units import NAMES, PARTS, SHAPES

AVERAGE = "valid.accuracy.ave.pth"
"""Link to the weights that the training ends with."""
REPORT = "RESULTS.md"


def train_text_to_unit(
    output: str | os.PathLike[str],
    config: str | None,
    pairs: Path,
    options: Mapping[str, Any],
    espnet: Sequence[str] = (),
) -> Path:
    """Train the model; an interrupted training goes on where it was.

    Args:
        output: experiment folder.
        config: YAML file.
        pairs: folder of make_unit_pairs.
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
    data: list[str] = []
    for part in PARTS:
        if not read_table(pairs / part / f"{NAMES[0]}.scp"):
            raise ValueError(f"{pairs / part}: no pairs")
        sources = {name: (pairs / part / f"{name}.scp", "kaldi_ark") for name in NAMES}
        data += data_options(part, sources, pairs / part / SHAPES)
    options = {"pairs": pairs, **options}
    args = parse_training(TextToUnitTask, output, config, options, [*data, *espnet])
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
    stored = StoredTextToUnit(model, MONOPHONES, units, frame_shift)
    trained_with = {"torch": str(torch.__version__), "seed": seed}
    save_text_to_unit(folder, stored, trained_with=trained_with)
    write_text(folder / REPORT, report.table())
