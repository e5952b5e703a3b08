"""ESPnet's trainer, made safe against kills and against losses that are not numbers.

Epochs, best weights, averages, DDP and the reporter are ESPnet's; the loop over batches is ours
(`loop`), as ESPnet's waits for a GPU several times an update. Added here:

- every file of a training is written beside its final name and renamed, so that a kill never
  leaves half a checkpoint;
- resuming first brings the folder to the state which an undisturbed run has after the epoch of
  `checkpoint.pth` (epoch file, links to the latest and best models, averages, removed files),
  so that a resumed run ends in the same files as one that was never disturbed. ESPnet seeds each
  epoch anew, therefore the weights are equal to the last bit on the same machine;
- `checkpoint.pth` is read without executing what it may contain; its checksums are compared, and
  where they differ the checkpoint before it, which is kept, takes its place;
- a checkpoint is made every some minutes, also inside an epoch (`inside`), and when SIGTERM or
  SIGUSR1 asks the training to stop, which then ends with an exit code of its own (`interrupts`);
- accumulated batches count by their frames, sentences or tokens (`accumulation`);
- the log says after each epoch how many CPU seconds it took;
- an update with a loss or a gradient that is not finite is left out (`updates`); such a loss, or
  too many such updates in a row, stop the training with a message that says where (`ledger`).
"""

from __future__ import annotations

import argparse
import logging
import os
import resource
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed
from espnet2.train.distributed_utils import DistributedOption
from espnet2.train.reporter import Reporter, SubReporter
from espnet2.train.trainer import Trainer, TrainerOptions
from espnet2.utils.build_dataclass import build_dataclass

from speechlm.checkpoints.trainer_files import CHECKPOINT, choose_checkpoint, load_weights_only
from speechlm.tasks import loop
from speechlm.tasks.epoch_files import complete_epoch
from speechlm.tasks.exchange import fewest
from speechlm.tasks.inside import Progress, Run
from speechlm.tasks.interrupts import on_signals
from speechlm.tasks.ledger import STOPPED, Ledger
from speechlm.tasks.resuming import restore_optimizer
from speechlm.tasks.saving import atomic_saving, check_room_for_training
from speechlm.tasks.updates import Updates
from speechlm.tasks.workers import at_first_worker, from_all_workers, rank

_SHOWN_S = 60.0  # in which a network file system shows what another machine has made
_ESPNET_ONLY = ("grad_noise", "no_forward_run", "create_graph_in_tensorboard")
_STATE = ("model", "reporter", "optimizers", "schedulers", "scaler")


@dataclass
class Options(TrainerOptions):
    """ESPnet's trainer options and our own."""

    max_nonfinite_updates: int
    """Stop after so many updates in a row whose gradient norm was not finite."""
    checkpoint_minutes: float
    """Make a checkpoint inside an epoch so many minutes after the last one; 0: never."""


class SpeechLMTrainer(Trainer):
    """Trainer with kill-safe checkpoints and a stop at the first loss that is not finite."""

    _run: Run | None = None
    """The run in progress; ESPnet does not hand its options to `resume`."""

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
        parser.add_argument(
            "--checkpoint_minutes",
            type=float,
            default=10.0,
            help="make a checkpoint inside an epoch so many minutes after the last one; 0: only at "
            "the ends of epochs, and when SIGTERM or SIGUSR1 asks the training to stop",
        )

    @classmethod
    def build_options(cls, args: argparse.Namespace) -> Options:
        """Take our options from the parsed arguments.

        Raises:
            ValueError: `checkpoint_minutes` is negative or no number; an option that only ESPnet's
                own loop has.
        """
        if not 0 <= args.checkpoint_minutes < float("inf"):
            raise ValueError(f"checkpoint_minutes: 0 or more, got {args.checkpoint_minutes}")
        wrong = [name for name in _ESPNET_ONLY if getattr(args, name)]
        if wrong:
            raise ValueError(
                f"{', '.join(wrong)}: options of ESPnet's own training loop, which trainings here "
                "do not have: leave them out"
            )
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
        """Restore the state of a checkpoint, and the folder that belongs to it."""
        states = load_weights_only(checkpoint)  # on the host: each part takes what it needs
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
        run = SpeechLMTrainer._run
        if run is None:
            return
        run.resumed(states)
        if run.position is not None:  # inside an epoch: what belongs to those before is complete
            return
        options = run.options
        if rank() == 0:
            complete_epoch(options, reporter, states["model"])
        if options.patience is not None and reporter.check_early_stopping(
            options.patience, *options.early_stopping_criterion
        ):
            options.max_epoch = reporter.get_epoch()

    @classmethod
    def run(cls, model: torch.nn.Module, trainer_options: Options, **kwargs: Any) -> None:
        """Train; arguments are ESPnet's.

        Raises:
            TrainingStopped: see `STOPPED`.
            CannotWrite: the folder is full or read-only; nothing that was there is lost.
            ValueError: workers do not see the same checkpoint.
        """
        run = Run(trainer_options, model, kwargs["optimizers"], kwargs["schedulers"])
        at_first_worker(lambda: _prepare(trainer_options, model, kwargs["optimizers"]))
        if trainer_options.resume:
            _wait_for_the_same_checkpoint(Path(trainer_options.output_dir, CHECKPOINT))
        SpeechLMTrainer._run = run
        try:
            with on_signals(run.request.note), atomic_saving(run.saved):
                super().run(model=model, trainer_options=trainer_options, **kwargs)
        finally:
            SpeechLMTrainer._run = None
            run.shown.end()

    @classmethod
    def train_one_epoch(
        cls, model: torch.nn.Module, reporter: SubReporter, options: Options, **kwargs: Any
    ) -> bool:
        """One epoch, or what is left of it. True if no update could be made.

        Raises:
            TrainingStopped: a loss is not finite, or too many gradients are not.
            Interrupted: a signal has come, and the state is saved.
        """
        assert cls._run is not None
        if kwargs["distributed_option"].distributed:
            # ESPnet gives all workers the same random stream; dropout must differ between them.
            torch.manual_seed(_worker_seed(options.seed, reporter.get_epoch(), rank()))
        # Batches behind the last whole update of an epoch make none: a resumed training, which
        # does not have their gradients, goes on as the one that was never disturbed.
        model.zero_grad()
        lowest = loop.low_precision(options.use_amp, loop.device_of(model))
        scaler = kwargs["scaler"] if lowest == torch.float16 else None
        updates = Updates(model, kwargs["optimizers"], kwargs["schedulers"], scaler, options)
        ledger = Ledger(reporter, cls._run, loop.device_of(model))
        progress = cls._run.progress = Progress(cls._run, reporter, ledger, kwargs["scaler"])
        if rank() == 0:
            cls._run.shown.begin_epoch(reporter.get_epoch(), kwargs["iterator"], progress.batches)
        batches = progress.training(kwargs["iterator"], updates.accumulation)
        write = loop.log_to_reporter(reporter, kwargs["summary_writer"], options.use_wandb)
        with _log_cpu_seconds(reporter):
            loop.train(model, batches, updates, ledger, cls._run, write)
        return not ledger.updated

    @classmethod
    def validate_one_epoch(
        cls,
        model: torch.nn.Module,
        iterator: Iterable[Any],
        reporter: SubReporter,
        options: Any,
        distributed_option: DistributedOption,
    ) -> None:
        """Validation; an error if it lacks a criterion of the best weights.

        (ESPnet would choose no best weights then, and remove those of all epochs but the last.)

        Raises:
            ValueError: see above; the values that are there are named.
        """
        assert cls._run is not None and cls._run.progress is not None
        ledger = Ledger(reporter, cls._run, loop.device_of(model))
        batches = cls._run.shown.validation(cls._run.progress.validation(iterator))
        with _log_cpu_seconds(reporter):
            loop.validate(model, batches, fewest(iterator), ledger)
        wanted = {key for phase, key, _ in options.best_model_criterion if phase == "valid"}
        missing = sorted(wanted - reporter.stats.keys())
        if missing:
            raise ValueError(
                f"best_model_criterion: validation has no {' '.join(missing)}; it has "
                f"{' '.join(sorted(reporter.stats))}"
            )


def _prepare(
    options: Options, model: torch.nn.Module, optimizers: Sequence[torch.optim.Optimizer]
) -> None:
    """Look at the folder before a training begins in it, or goes on."""
    check_room_for_training(options, model, optimizers)
    Path(options.output_dir, STOPPED).unlink(missing_ok=True)
    if options.resume:
        choose_checkpoint(options.output_dir)


def _wait_for_the_same_checkpoint(path: Path) -> None:
    """Make sure that all workers go on from a checkpoint, or none does.

    A network file system may show a file late.
    """
    wanted = from_all_workers([path.exists()])[0]
    deadline = time.monotonic() + _SHOWN_S
    while path.exists() != wanted and time.monotonic() < deadline:
        time.sleep(0.2)
    seen = from_all_workers([path.exists()])
    others = [str(number) for number, there in enumerate(seen) if there != wanted]
    if others:
        raise ValueError(
            f"{path} is {'there' if wanted else 'not there'} for worker 0, but not so for "
            f"{' '.join(others)}: the folder of a training must be on a file system that all "
            "nodes share"
        )


def _worker_seed(seed: int, epoch: int, rank: int) -> int:
    return int(np.random.SeedSequence([seed, epoch, rank]).generate_state(1, np.uint64)[0] >> 1)


@contextmanager
def _log_cpu_seconds(reporter: SubReporter) -> Iterator[None]:
    """Log CPU seconds and memory of the block.

    CPU seconds are those of all workers, their threads and their ended children; memory is the most
    that the first worker had so far.

    The loader's processes of an epoch have ended when its last batch is there.
    """
    before = os.times()
    yield
    spent = sum(os.times()[:4]) - sum(before[:4])  # user and system, of this process and children
    total = sum(from_all_workers([spent]))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9  # of this worker
    logging.info(
        "%depoch:%s: cpu_seconds=%.2f, memory_gb=%.2f",
        *(reporter.get_epoch(), reporter.key, total, memory),
    )
