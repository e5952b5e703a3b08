"""What each recipe takes, and how long it will take on this machine: an estimate.

Times were measured on a reference machine (doc/speed.md, egs/*/RESULTS.md) or counted
(egs/librispeech/README.md). Here a product of two matrices is timed, for some seconds, and times
are scaled by its rate. Reading audio, decoding and waiting for disks do not follow that rate, so
that an estimate may be wrong by a factor of two.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

REFERENCE_CORES = 2
REFERENCE_GFLOPS = 190.0
"""2048 x 2048 products in float32 on the reference machine, 2 cores of an AMD EPYC: 180 to 200."""
SUSTAINED = 0.4
"""Share of a GPU's rate of large products that a training is taken to reach: a guess."""
H100_TFLOPS = 0.3 * 989
"""What the tables' GPU hours were reckoned with: 30 % of an H100's peak in bfloat16."""


@dataclass(frozen=True)
class Cost:
    """What a recipe takes, with its defaults."""

    cpu_hours: float
    """On the reference machine, of one core."""
    gpu_hours: float
    """On an H100 at 30 % of its peak; 0: the recipe's trainings are made for CPUs."""
    disk: float
    """GB that it downloads and makes, without a corpus that must be there before."""
    memory: float
    """GB of the largest step."""
    parts: tuple[str, ...]
    """Of `check_install.PARTS`."""
    corpus: str = ""
    """What must be there before."""


ALL = ("everything", "data (1, 2)", "training (4, 10, 11)", "scoring (14)")
SPEECH = (*ALL, "lexicon (3)", "recogniser (4, 5)")
RECIPES = {
    # CPU seconds of exp/times.tsv at `make mini`: 1,489; of the folder 584 MB; four trainings of
    # 1.4 GB side by side
    "mini": Cost(0.42, 0, 0.6, 8, (*SPEECH, "mini corpus (1)", "hidden units")),
    # 710 CPU seconds
    "mini_st": Cost(0.2, 0, 0.6, 4, (*SPEECH, "mini corpus (1)", "translation")),
    # 1,742 CPU seconds; 2.2 GB
    "superb": Cost(0.5, 0, 2.2, 4, (*ALL, "mini corpus (1)", "SUPERB"), "models of make mini"),
    "commonvoice": Cost(
        0.3, 0, 1, 4, (*SPEECH, "mini corpus (1)"), "Common Voice in a language; text"
    ),
    # tables of egs/librispeech/README.md, 8 GPUs: Base 8 h, fine-tuning 0.2 h each
    "librispeech": Cost(
        64, 65.6, 61 + 61 + 4.6 + 1.8 + 36 + 3 + 3 + 2.9, 48, (*SPEECH, "hidden units")
    ),
    # the same: Large 57 h, fine-tuning 5 h; units of 60,000 h: 22 CPU hours and 1.8 GB for 960 h
    "librilight": Cost(
        1400, 496, 61 + 61 + 4.6 + 113 + 36 + 9 + 9, 48, SPEECH, "Libri-Light, 60,000 h"
    ),
    # egs/covost2/RESULTS.md: 11 to 28 GPU hours, 24 GB and 6 GB, decoding 11 h of one core
    "covost2": Cost(12, 20, 24 + 6, 16, (*SPEECH, "translation"), "Common Voice 4, CoVoST 2"),
}


def product_rate(device: str, seconds: float = 2.0) -> float:
    """Return operations a second (10^9) of large products: float32 on a CPU, bfloat16 on a GPU."""
    import torch

    cpu = device == "cpu"
    size, dtype = (2048, torch.float32) if cpu else (8192, torch.bfloat16)
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        a @ b
        if not cpu:
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best / 1e9


def hours(cost: Cost, cores: int, cpu_rate: float, gpu_rates: list[float]) -> float | None:
    """Estimate a recipe's wall hours; None if it needs GPUs and there is none.

    Args:
        cost: of the recipe.
        cores: of this machine.
        cpu_rate: `product_rate` of all cores.
        gpu_rates: `product_rate` of each GPU.
    """
    # seconds of one core at the reference, over how much faster a core is here, over cores
    one_core = (cpu_rate / cores) / (REFERENCE_GFLOPS / REFERENCE_CORES)
    # small recipes have two jobs and four trainings at once, large ones as many as there are cores
    busy = min(cores, 4) if not cost.gpu_hours else cores
    time_of_cpu = cost.cpu_hours / one_core / busy
    if not cost.gpu_hours:
        return time_of_cpu
    if not gpu_rates:
        return None
    sustained = SUSTAINED * sum(gpu_rates) / 1e3  # TFLOP/s
    return time_of_cpu + cost.gpu_hours * H100_TFLOPS / sustained


def missing(cost: Cost, disk: float, memory: float, absent: set[str]) -> list[str]:
    """Return what is missing for a recipe, in words.

    Args:
        cost: of the recipe.
        disk: GB free.
        memory: GB of the machine.
        absent: names of parts whose packages are not all there.
    """
    found = []
    if disk < cost.disk:
        found.append(f"disk ({cost.disk:.0f} GB wanted, {disk:.0f} free)")
    if memory < cost.memory:
        found.append(f"memory ({cost.memory:.0f} GB wanted, {memory:.0f} there)")
    lacking = [name for name in cost.parts if name in absent]
    return found + [f"packages of {name}" for name in lacking]


def shown(estimate: float | None) -> str:
    """Return an estimate in words that claim no more than it knows."""
    if estimate is None:
        return "wants GPUs"
    if estimate < 1.5:
        return f"about {max(1, round(60 * estimate))} min"
    return f"about {estimate:.0f} h" if estimate < 72 else f"about {estimate / 24:.0f} days"
