"""The GPUs of this machine, and why torch may find none."""

from __future__ import annotations

import torch


def check_gpus(wanted: int) -> None:
    """Make sure that torch finds as many GPUs as `--ngpu` asks for.

    Raises:
        ValueError: it finds fewer; what to do follows from its build.
    """
    found = torch.cuda.device_count()
    if wanted <= found:
        return
    if torch.version.cuda is None and torch.version.hip is None:
        way_out = (
            f"this torch ({torch.__version__}) is a build for CPUs; TORCH=cuda tools/install.sh in "
            "the project's folder brings that for NVIDIA's GPUs"
        )
    else:
        way_out = f"give --ngpu {found}, or see with nvidia-smi what this machine, or job, has"
    count = {0: "no GPU", 1: "1 GPU"}.get(found, f"{found} GPUs")
    raise ValueError(f"--ngpu {wanted}: torch finds {count} here; {way_out}")
