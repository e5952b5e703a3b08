"""The batches of an epoch: what ESPnet's trainer does with them, without waiting for a GPU.

ESPnet's own loop reads numbers of each batch. This one makes the same updates and reports the same
numbers under the same names; `ledger` says when they are read, `updates` what becomes of a broken
gradient, `exchange` what several workers tell each other.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from espnet2.torch_utils.device_funcs import to_device

from speechlm.conventions import SAMPLE_RATE
from speechlm.tasks.exchange import fewest, tell, together
from speechlm.tasks.inside import Run
from speechlm.tasks.ledger import Entry, Group, Ledger
from speechlm.tasks.on_host import taken
from speechlm.tasks.updates import Updates
from speechlm.tasks.workers import world_size

_LENGTHS = ("sample_lengths", "speech_lengths")
"""Names of the samples (B,) of the recordings in a batch."""


def train(
    model: torch.nn.Module,
    batches: Iterable[Any],
    updates: Updates,
    ledger: Ledger,
    run: Run,
    written: Callable[[int], None],
) -> None:
    """Train with batches, accumulated as the options say; all that they report is read at the end.

    Args:
        model: gives loss, statistics and weight, (1,) each.
        batches: (ids, tensors by name), on the host.
        updates: makes them.
        ledger: of the epoch's training part.
        run: the training.
        written: called behind every `log_interval`-th batch, with that number.

    Raises:
        TrainingStopped: see `Ledger.read`.
    """
    options, number = run.options, fewest(batches)
    interval = options.log_interval or (100 if number is None else max(number // 20, 10))
    model.train()
    asked = begun = time.perf_counter()
    audio = 0.0
    for count, (ids, batch) in enumerate(together(batches, number, run.done), 1):
        entry = ledger.begin(ids, time.perf_counter() - asked)
        audio += audio_seconds(batch)
        with timed(entry, "forward_time"), number_format(model, options):
            loss, stats, weight = call(model, ids, batch)

        # Its part of the loss of the update, from the weights of all workers and batches
        told = tell(loss, stats, weight, run.wish())
        entry.loss, entry.finite, entry.wish = loss.detach(), told.finite, told.wish
        entry.groups.append(Group(told.stats, told.weight))
        loss = updates.accumulation.share(loss, weight, told.weight)
        with timed(entry, "backward_time"):
            updates.backward(loss, told.finite)

        # The update, and what is told of it when it is read
        if count % options.accum_grad == 0:
            updates.make(ledger)
            assert entry.update is not None
            entry.update.rates["train_time"] = time.perf_counter() - begun
            if audio:
                entry.update.rates["audio_seconds"] = audio
            begun, audio = time.perf_counter(), 0.0
        ledger.close(within_update=entry.update is None)
        if count % interval == 0:
            ledger.read()
            written(interval)
        asked = time.perf_counter()
    ledger.read()


@torch.no_grad()
def validate(
    model: torch.nn.Module, batches: Iterable[Any], number: int | None, ledger: Ledger
) -> None:
    """Statistics of batches, which are not learnt from.

    Args:
        model, batches: as in `train`.
        number: of the batches that all workers have, if it is known.
        ledger: of the epoch's validation part.
    """
    model.eval()
    for ids, batch in together(batches, number):
        with number_format(model, ledger.run.options):
            loss, stats, weight = call(model, ids, batch)
        told = tell(loss, stats, weight, ledger.run.wish())
        ledger.entries.append(Entry(list(ids), [Group(told.stats, told.weight)], wish=told.wish))
        ledger.close()
    ledger.read()


def call(model: torch.nn.Module, ids: list[str], batch: dict[str, Any]) -> Any:
    """The model's loss, statistics and weight; statistics without a value are left out.

    From pinned memory, where the loaders of trainings on GPUs put them, tensors are copied while
    the CPU goes on.
    """
    batch = to_device({**batch, "utt_id": ids}, device_of(model), non_blocking=True)
    loss, stats, weight = model(**batch)
    # What is read later must not keep the graph of the batch in memory.
    return loss, {key: x.detach() for key, x in stats.items() if x is not None}, weight.detach()


def audio_seconds(batch: dict[str, Any]) -> float:
    """Seconds of audio of all workers' batches, by the samples (B,) of this one's, on the host.

    0: the batch has no audio.
    """
    lengths = next((taken(batch[name]) for name in _LENGTHS if name in batch), None)
    return 0.0 if lengths is None else float(lengths.sum()) * world_size() / SAMPLE_RATE


def device_of(model: torch.nn.Module) -> torch.device:
    """Where the model is."""
    return next(model.parameters()).device


def low_precision(use_amp: bool, device: torch.device) -> torch.dtype | None:
    """The type of mixed precision: bfloat16, or float16 on GPUs that have no bfloat16.

    None: single precision, as ESPnet's `use_amp` is for GPUs.
    """
    if not use_amp or device.type == "cpu":
        return None
    if device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.float16
    return torch.bfloat16


def number_format(model: torch.nn.Module, options: Any) -> torch.autocast:
    """The forward pass's number format, as a block."""
    device = device_of(model)
    dtype = low_precision(options.use_amp, device)
    return torch.autocast(device.type, dtype=dtype, enabled=dtype is not None)


@contextmanager
def timed(entry: Entry, name: str) -> Iterator[None]:
    """Note how many seconds the block takes the CPU."""
    begun = time.perf_counter()
    yield
    entry.groups.append(Group({name: time.perf_counter() - begun}))


def log_to_reporter(reporter: Any, summary_writer: Any, use_wandb: bool) -> Callable[[int], None]:
    """Writes the means of the last batches to the log, TensorBoard and Weights & Biases."""

    def write(interval: int) -> None:
        logging.info(reporter.log_message(-interval))
        if summary_writer is not None:
            reporter.tensorboard_add_scalar(summary_writer, -interval)
        if use_wandb:
            reporter.wandb_log()

    return write
