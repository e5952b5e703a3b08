"""Files that ESPnet's trainer leaves after each epoch, brought to that state once more."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from espnet2.main_funcs.average_nbest_models import average_nbest_models
from espnet2.train.reporter import Reporter
from espnet2.train.trainer import TrainerOptions

from speechlm.checkpoints.trainer_files import check_whole
from speechlm.data.atomic import output_file
from speechlm.data.whole_files import DamagedFile


def _link(path: Path, target: str) -> None:
    """Make `path` a link to `target` in the same folder, atomically."""
    if path.is_symlink() and os.readlink(path) == target:
        return
    with output_file(path) as temporary:
        temporary.symlink_to(target)


def complete_epoch(options: TrainerOptions, reporter: Reporter, weights: dict) -> None:
    """Do again what ESPnet does in the folder after it has written `checkpoint.pth`.

    A kill may have come before any part of it. Everything follows from the reporter's
    statistics, so doing it twice does no harm.
    """
    folder = Path(options.output_dir)
    epoch = reporter.get_epoch()
    model = folder / f"{epoch}epoch.pth"
    if not _is_whole(model):
        torch.save(weights, model)
    _link(folder / "latest.pth", model.name)
    criteria = [c for c in options.best_model_criterion if reporter.has(c[0], c[1])]
    keep = options.keep_nbest_models
    count = keep if isinstance(keep, int) else max(keep, default=1)
    best: set[int] = set()
    for phase, key, mode in criteria:
        order = reporter.sort_epochs(phase, key, mode)
        best |= set(order[:count])
        _link(folder / f"{phase}.{key}.best.pth", f"{order[0]}epoch.pth")
    _check_epochs(folder, best)
    interval = options.nbest_averaging_interval
    if interval > 0 and epoch % interval == 0:
        average_nbest_models(
            reporter=reporter,
            output_dir=folder,
            best_model_criterion=options.best_model_criterion,
            nbest=[keep] if isinstance(keep, int) else keep,
            suffix=f"till{epoch}epoch",
        )
    for old in range(1, epoch):
        if old not in best:
            (folder / f"{old}epoch.pth").unlink(missing_ok=True)


def _check_epochs(folder: Path, epochs: set[int]) -> None:
    """Find out now, not after days, that weights which will be averaged cannot be read."""
    names = [f"{epoch}epoch.pth" for epoch in sorted(epochs)]
    there = [folder / name for name in names if os.path.lexists(folder / name)]
    wrong = [str(path) for path in there if not _is_whole(path)]
    if wrong:
        raise ValueError(
            f"{', '.join(wrong)}: empty, cut off or damaged, but of the best epochs, which become "
            f"the model. Restore good copies, or remove {folder} to train from the beginning"
        )


def _is_whole(path: Path) -> bool:
    try:
        check_whole(path)
    except DamagedFile:
        return False
    return True
