"""Updates of many workers made by few: batches at once as far as memory has room, then by turns.

A configuration says in `for_workers` for how many workers (the authors' GPUs) it is written. An
update then has for_workers x accum_grad batches, and so it has with W workers:

    for_workers x accum_grad = W x batches_at_once x (accum_grad from here on)

`batches_at_once` batches of like length are put together as one (`SpeechBatches`, `TextBatches`):
fewer passes of more rows, and fewer exchanges of gradients. As many are taken as the GPU has memory
for, by the estimates `state_gib` and `batch_gib` of the configuration.
"""

from __future__ import annotations

import argparse
import logging
import math
from collections.abc import Sequence

import torch

USED_SHARE = 0.85
"""Of a GPU's memory, that weights and batches may take by the estimates: libraries need some."""
_TOLD = ("--accum_grad", "--num_iters_per_epoch")


def as_told(args: argparse.Namespace, command_line: Sequence[str]) -> None:
    """Take the numbers of batches as they are where the command line says some of them.

    Args:
        args: options of a training; `for_workers` is removed.
        command_line: the words of ESPnet's options.
    """
    told = [word for word in command_line if word.split("=")[0] in _TOLD]
    if told and args.for_workers is not None:
        logging.info(
            "%s: numbers of batches are taken as they are given, not as those for %d workers",
            *(" ".join(told), args.for_workers),
        )
        args.for_workers = None


def share_update(args: argparse.Namespace, workers: int) -> None:
    """Set `batches_at_once`, `accum_grad` and `num_iters_per_epoch` for a number of workers.

    Updates are as many, and have as many batches, as with `for_workers` workers. Where that is not
    given, everything stays as it is.

    Raises:
        ValueError: the batches of an update cannot be shared by the workers, or not be put together
            as `batches_at_once` says, or a number cannot be one.
    """
    _check(args)
    written_for, args.for_workers = args.for_workers, None
    if written_for is None:
        return
    total = written_for * args.accum_grad
    each = total // workers
    if each * workers != total:
        fitting = [n for n in range(1, total + 1) if total % n == 0]
        raise ValueError(
            f"the {total} batches of an update (for_workers {written_for} x accum_grad "
            f"{args.accum_grad}) cannot be shared equally by {workers} workers: use "
            f"{', '.join(map(str, fitting))} of them, or say with --for_workers {workers} that "
            f"an update is to have one batch of each of {workers} workers, times accum_grad"
        )
    at_once = args.batches_at_once or _most_at_once(args, each)
    if each % at_once:
        raise ValueError(
            f"batches_at_once: one of {', '.join(map(str, divisors(each)))} expected, as each of "
            f"{workers} workers has {each} of the {total} batches of an update, got {at_once}"
        )
    # as many updates an epoch as before, each of each / at_once batches
    updates = (args.num_iters_per_epoch or 0) // args.accum_grad
    args.batches_at_once, args.accum_grad = at_once, each // at_once
    if args.num_iters_per_epoch is not None:
        args.num_iters_per_epoch = updates * args.accum_grad


def _check(args: argparse.Namespace) -> None:
    for name in ("for_workers", "accum_grad", "batches_at_once"):
        value = getattr(args, name)
        if value is not None and value < 1:
            raise ValueError(f"{name}: 1 or more expected, got {value}")
    for name in ("gpu_gib", "batch_gib", "state_gib"):
        value = getattr(args, name)
        if value is not None and not 0 < value < math.inf:
            raise ValueError(f"{name}: GiB, a number above 0, expected, got {value}")


def divisors(n: int) -> list[int]:
    """Numbers that divide n, ascending."""
    return [d for d in range(1, n + 1) if n % d == 0]


def _most_at_once(args: argparse.Namespace, each: int) -> int:
    """The largest divisor of the worker's batches that a GPU has memory for, by the estimates."""
    memory = _memory(args)
    if memory is None or args.batch_gib is None:
        return 1
    return max(d for d in divisors(each) if d == 1 or needed(args, d) <= USED_SHARE * memory)


def needed(args: argparse.Namespace, at_once: int) -> float:
    """GiB that weights, optimiser and so many batches take at once, by the estimates."""
    return (args.state_gib or 0.0) + at_once * args.batch_gib


def _memory(args: argparse.Namespace) -> float | None:
    """GiB of a worker's GPU, None without one; of several kinds on a machine the smallest."""
    if args.gpu_gib is not None:
        return args.gpu_gib
    if not args.ngpu or not torch.cuda.is_available():
        return None
    devices = range(torch.cuda.device_count())
    return min(torch.cuda.get_device_properties(d).total_memory for d in devices) / 2**30


def log_sharing(args: argparse.Namespace, workers: int) -> None:
    """Say what `share_update` has chosen, with a warning where memory may not be enough."""
    at_once = args.batches_at_once or 1
    logging.info(
        "an update has %d batches: %d workers x %d at once x %d by turns (--batches_at_once N "
        "chooses another number)",
        *(workers * at_once * args.accum_grad, workers, at_once, args.accum_grad),
    )
    memory = _memory(args)
    if memory is None or args.batch_gib is None:
        return
    wanted = needed(args, at_once)
    tight = wanted > USED_SHARE * memory
    logging.log(
        logging.WARNING if tight else logging.INFO,
        "weights, optimiser and batches take an estimated %.1f GiB of a GPU's %.1f%s",
        *(wanted, memory),
        f"; if memory runs out, use {_smaller(at_once)}" if tight else "",
    )


def _smaller(at_once: int) -> str:
    """What to change where a GPU has not the memory for so many batches at once."""
    if at_once > 1:
        return "a smaller --batches_at_once, which makes the same updates"
    return "smaller max_samples and batch_samples, with for_workers larger in proportion"
