"""Whole updates of a training on the pretended GPU, by the loop that trainings have."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch

from benchmarks.measure import N_CHARACTERS, N_UNITS
from benchmarks.pretended_gpu import META, pretended_gpu
from benchmarks.trace import Trace
from speechlm.models import SpeechLM, SpeechLMConfig

NAMES = ("waveforms", "sample_lengths", "labels", "units", "characters")


class Batches:
    """The same batch again and again.

    Args:
        batch: (ids, tensors by name).
        number: how many times.
        asked: called before each one, with how many there were, and at the end.
    """

    def __init__(self, batch: Any, number: int, asked: Callable[[int], None]) -> None:
        self.batch, self.number, self.asked = batch, number, asked

    def __len__(self) -> int:
        return self.number

    def __iter__(self) -> Iterator[Any]:
        for number in range(self.number):
            self.asked(number)
            yield self.batch
        self.asked(self.number)


def waits_of_updates(
    config: SpeechLMConfig,
    tensors: list[torch.Tensor],
    dtype: torch.dtype | None,
    updates: int = 2,
    accumulated: int = 1,
) -> list[int]:
    """How often the host waits for the GPU in each update, and last in reading what they report.

    Args:
        config: of the model.
        tensors: of every batch, in the order of `NAMES`, on the host.
        dtype: of mixed precision, or None.
        updates: how many; the first one makes the state of the optimiser, too.
        accumulated: batches of an update.
    """
    with torch.device(META), torch.no_grad():
        network = SpeechLM(config, N_UNITS, N_CHARACTERS)
    trace = Trace(lambda modules: "")
    seen: list[int] = []
    # torch does not know that the device has a fused Adam; it has one for shapes
    check = mock.patch("torch.optim.adam._device_dtype_check_for_fused")
    with check, pretended_gpu(dtype) as gpu, trace:

        def note(number: int) -> None:
            if number % accumulated == 0:
                seen.append(trace.waits + gpu.waits)

        batch = dict(zip(NAMES, tensors, strict=False))
        batches = Batches(([], batch), updates * accumulated, note)
        train(network, batches, dtype is not None, accumulated)
        seen.append(trace.waits + gpu.waits)
    return [after - before for before, after in itertools.pairwise(seen)]


def train(network: SpeechLM, batches: Batches, use_amp: bool, accumulated: int) -> None:
    """The loop of a pre-training over some batches, with what a configuration for GPUs has."""
    from espnet2.train.reporter import SubReporter  # takes ten seconds

    from speechlm.tasks import loop
    from speechlm.tasks.inside import Run
    from speechlm.tasks.ledger import Ledger
    from speechlm.tasks.on_host import keep_on_host
    from speechlm.tasks.pretrain import PretrainModel
    from speechlm.tasks.schedulers import LinearDecayLR
    from speechlm.tasks.updates import Updates

    model = PretrainModel(network, with_text=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-4, fused=True)
    schedule = LinearDecayLR(optimizer, 100, 1000)
    options = SimpleNamespace(
        max_epoch=1,
        ngpu=1,
        use_amp=use_amp,
        accum_grad=accumulated,
        grad_clip=10.0,
        grad_clip_type=2.0,
        log_interval=10**9,
        max_nonfinite_updates=math.inf,
        checkpoint_minutes=0.0,
        output_dir="",
    )
    run = Run(options, model, [optimizer], [schedule])
    ledger = Ledger(SubReporter("train", 1, 0), run, loop.device_of(model))
    updates = Updates(model, [optimizer], [schedule], None, options)
    batches.batch = keep_on_host(batches.batch)
    loop.train(model, batches, updates, ledger, run, lambda interval: None)
