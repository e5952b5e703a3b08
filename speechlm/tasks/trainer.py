"""ESPnet's trainer, made safe against kills and against losses that are not numbers.

GPU, DDP, mixed precision, accumulation, logging and TensorBoard are ESPnet's. Added here:

- every file of a training is written beside its final name and renamed, so that a kill never
  leaves half a checkpoint;
- resuming first brings the folder to the state which an undisturbed run has after the epoch of
  `checkpoint.pth` (epoch file, links to the latest and best models, averages, removed files),
  so that a resumed run ends in the same files as one that was never disturbed. ESPnet seeds each
  epoch anew, therefore the weights are equal to the last bit on the same machine;
- `checkpoint.pth` is read without executing what it may contain;
- accumulated batches count by their sentences or tokens (`accumulation`), where the model has a
  method `count`;
- the log says after each epoch how many CPU seconds it took;
- a loss that is not finite, or too many updates in a row with a gradient that is not, stop the
  training with a message that says where.
"""

from __future__ import annotations

import argparse
import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed
from espnet2.main_funcs.average_nbest_models import average_nbest_models
from espnet2.train.distributed_utils import DistributedOption
from espnet2.train.reporter import Reporter, SubReporter
from espnet2.train.trainer import Trainer, TrainerOptions
from espnet2.utils.build_dataclass import build_dataclass

from speechlm.checkpoints.trainer_files import load_weights_only
from speechlm.data.atomic import library_writes, output_file, write_text
from speechlm.data.whole_files import is_whole_archive
from speechlm.tasks.accumulation import Accumulation
from speechlm.tasks.resuming import restore_optimizer

STOPPED = "STOPPED.txt"
"""Name of the file in the training's folder that says why it was stopped."""
_STATE = ("model", "reporter", "optimizers", "schedulers", "scaler")


class TrainingStopped(ValueError):
    """The training cannot go on; the message says where it stopped, and what to do."""


@dataclass
class Options(TrainerOptions):
    """ESPnet's trainer options and our own."""

    max_nonfinite_updates: int
    """Stop after so many updates in a row whose gradient norm was not finite."""


class SpeechLMTrainer(Trainer):
    """Trainer with kill-safe checkpoints and a stop at the first loss that is not finite."""

    _options: Options | None = None
    """Options of the run in progress; ESPnet does not hand them to `resume`."""

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Add our own options to ESPnet's parser."""
        parser.add_argument(
            "--max_nonfinite_updates",
            type=int,
            default=32,
            help="Stop when so many updates in a row had a gradient norm that is not finite "
            "(mixed precision in float16 needs some while it looks for its loss scale)",
        )

    @classmethod
    def build_options(cls, args: argparse.Namespace) -> Options:
        """Take our options from the parsed arguments."""
        return build_dataclass(Options, args)

    @staticmethod
    def resume(
        checkpoint: str | Path,
        model: torch.nn.Module,
        reporter: Reporter,
        optimizers: Any,
        schedulers: Any,
        scaler: Any,
        ngpu: int = 0,
        strict: bool = True,
    ) -> None:
        """Restore the state after the last finished epoch, and the folder that belongs to it."""
        device = f"cuda:{torch.cuda.current_device()}" if ngpu > 0 else "cpu"
        states = load_weights_only(checkpoint, device)
        missing = [key for key in _STATE if key not in states]
        if missing:
            raise ValueError(
                f"{checkpoint} has no {', '.join(missing)}: it is no state of a training; maybe "
                "the weights of a model alone, which --init_param takes"
            )
        model.load_state_dict(states["model"], strict=strict)
        reporter.load_state_dict(states["reporter"])
        parts = zip(optimizers, schedulers, states["optimizers"], states["schedulers"], strict=True)
        for part in parts:
            restore_optimizer(*part)
        if scaler is not None and states["scaler"] is not None:
            scaler.load_state_dict(states["scaler"])
        logging.info("resumed after epoch %d of %s", reporter.get_epoch(), checkpoint)
        options = SpeechLMTrainer._options
        if options is None:
            return
        if _rank() == 0:
            _complete_epoch(options, reporter, states["model"])
        if options.patience is not None and reporter.check_early_stopping(
            options.patience, *options.early_stopping_criterion
        ):
            options.max_epoch = reporter.get_epoch()

    @classmethod
    def run(cls, model: torch.nn.Module, trainer_options: Options, **kwargs: Any) -> None:
        """Train; arguments are ESPnet's. Raises `TrainingStopped` (see `STOPPED`)."""
        output_dir = Path(trainer_options.output_dir)
        (output_dir / STOPPED).unlink(missing_ok=True)
        SpeechLMTrainer._options = trainer_options
        try:
            with _atomic_saving():
                super().run(model=model, trainer_options=trainer_options, **kwargs)
        finally:
            SpeechLMTrainer._options = None

    @classmethod
    def train_one_epoch(
        cls, model: torch.nn.Module, reporter: SubReporter, options: Options, **kwargs: Any
    ) -> bool:
        """One epoch of ESPnet's, watched. True if no update could be made."""
        if kwargs["distributed_option"].distributed:
            # ESPnet gives all workers the same random stream; dropout must differ between them.
            torch.manual_seed(_worker_seed(options.seed, reporter.get_epoch(), _rank()))
        watch = _Watch(reporter, options)
        handles = [model.register_forward_hook(watch.check_loss, with_kwargs=True)]
        count = getattr(getattr(model, "module", model), "count", None)  # within DDP: its module
        if options.accum_grad > 1 and count is not None:
            device = "cuda" if options.ngpu > 0 else "cpu"
            batches = Accumulation(kwargs["iterator"], options.accum_grad, count, device)
            kwargs["iterator"] = batches
            handles.append(model.register_forward_hook(batches.weigh))
        try:
            with _log_cpu_seconds(reporter):
                return super().train_one_epoch(
                    model=model, reporter=reporter, options=options, **kwargs
                )
        finally:
            for handle in handles:
                handle.remove()

    @classmethod
    def validate_one_epoch(
        cls,
        model: torch.nn.Module,
        iterator: Iterable[Any],
        reporter: SubReporter,
        options: Any,
        distributed_option: DistributedOption,
    ) -> None:
        """ESPnet's validation; an error if it lacks a criterion of the best weights.

        (ESPnet would choose no best weights then, and remove those of all epochs but the last.)

        Raises:
            ValueError: see above; the values that are there are named.
        """
        with _log_cpu_seconds(reporter):
            super().validate_one_epoch(model, iterator, reporter, options, distributed_option)
        wanted = {key for phase, key, _ in options.best_model_criterion if phase == "valid"}
        missing = sorted(wanted - reporter.stats.keys())
        if missing:
            raise ValueError(
                f"best_model_criterion: validation has no {' '.join(missing)}; it has "
                f"{' '.join(sorted(reporter.stats))}"
            )


def _rank() -> int:
    return torch.distributed.get_rank() if torch.distributed.is_initialized() else 0


def _worker_seed(seed: int, epoch: int, rank: int) -> int:
    return int(np.random.SeedSequence([seed, epoch, rank]).generate_state(1, np.uint64)[0] >> 1)


@contextmanager
def _log_cpu_seconds(reporter: SubReporter) -> Iterator[None]:
    """Log the CPU seconds of the block: of all workers, their threads and their ended children.

    The loader's processes of an epoch have ended when its last batch is there.
    """
    before = os.times()
    yield
    spent = sum(os.times()[:4]) - sum(before[:4])  # user and system, of this process and children
    total = sum(_from_all_workers([spent]))
    logging.info("%depoch:%s: cpu_seconds=%.2f", reporter.get_epoch(), reporter.key, total)


class _Watch:
    """Looks at each loss and gradient norm of an epoch."""

    def __init__(self, reporter: SubReporter, options: Options) -> None:
        self.reporter = reporter
        self.options = options
        self.utterances: list[str] = []
        self.bad_updates = 0
        self.register = reporter.register
        reporter.register = self._register

    def check_loss(self, _module: Any, _args: Any, kwargs: dict, output: Any) -> None:
        """Forward hook: stop if any worker's loss is not finite."""
        self.utterances = list(kwargs.get("utt_id", ()))
        loss = output["loss"] if isinstance(output, dict) else output[0]
        finite = torch.isfinite(loss.detach()).all().to(torch.int32)
        if torch.distributed.is_initialized():
            torch.distributed.all_reduce(finite, torch.distributed.ReduceOp.MIN)
        if not finite:
            self._stop(f"the loss is not finite ({loss.detach().flatten().tolist()})")

    def _register(self, stats: dict, weight: Any = None) -> None:
        """In place of the reporter's: ESPnet reports a gradient norm only if it is finite."""
        if "grad_norm" in stats:
            self.bad_updates = -1
        if "train_time" in stats:  # the last report of an update
            self.bad_updates += 1
            if self.bad_updates >= self.options.max_nonfinite_updates:
                self._stop(f"the gradient norm was not finite in {self.bad_updates} updates")
        self.register(stats, weight)

    def _stop(self, what: str) -> None:
        utterances = _from_all_workers(self.utterances)
        output_dir = Path(self.options.output_dir)
        iteration, total = self.reporter.count, self.reporter.total_count
        done = self.reporter.get_epoch() - 1
        good = f"{output_dir / 'checkpoint.pth'} (epoch {done})" if done else "none yet"
        message = (
            f"training stopped: {what} in epoch {self.reporter.get_epoch()}, batch {iteration} "
            f"of the epoch, batch {total} of the run "
            f"(update {-(-total // self.options.accum_grad)}).\n"
            f"utterances of the batch: {' '.join(utterances)}\n"
            f"last good checkpoint: {good}\n"
            "what to do: listen to these utterances and leave out what is broken, or lower the "
            "learning rate; starting again goes on from the last good checkpoint."
        )
        if _rank() == 0:
            write_text(output_dir / STOPPED, message + "\n")
        logging.error(message)
        raise TrainingStopped(message)


def _from_all_workers(items: list[Any]) -> list[Any]:
    if not torch.distributed.is_initialized():
        return items
    gathered: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(gathered, items)
    return [item for worker in gathered for item in worker]


@contextmanager
def _atomic_saving() -> Iterator[None]:
    """Within the block `torch.save` to a path leaves the whole file or none."""
    save = torch.save

    def atomic_save(obj: Any, f: Any, *args: Any, **kwargs: Any) -> None:
        if not isinstance(f, str | os.PathLike):
            save(obj, f, *args, **kwargs)
            return
        with output_file(f) as path, open(path, "wb") as stream:
            with library_writes(f, RuntimeError):
                save(obj, stream, *args, **kwargs)
            stream.flush()
            os.fsync(stream.fileno())

    torch.save = atomic_save
    try:
        yield
    finally:
        torch.save = save


def _link(path: Path, target: str) -> None:
    """Make `path` a link to `target` in the same folder, atomically."""
    if path.is_symlink() and os.readlink(path) == target:
        return
    with output_file(path) as temporary:
        temporary.symlink_to(target)


def _complete_epoch(options: Options, reporter: Reporter, weights: dict) -> None:
    """Do again what ESPnet does in the folder after it has written `checkpoint.pth`.

    A kill may have come before any part of it. Everything follows from the reporter's
    statistics, so doing it twice does no harm.
    """
    folder = Path(options.output_dir)
    epoch = reporter.get_epoch()
    model = folder / f"{epoch}epoch.pth"
    if not is_whole_archive(model):
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
    wrong = [str(path) for path in there if not is_whole_archive(path)]
    if wrong:
        raise ValueError(
            f"{', '.join(wrong)}: empty, cut off or damaged, but of the best epochs, which become "
            f"the model. Restore good copies, or remove {folder} to train from the beginning"
        )
