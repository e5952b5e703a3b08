import resource
import subprocess
import sys

import pytest

CODE = """
import resource, torch
from speechlm.kernels.memory import reuse_memory
{call}
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(4):
        torch.ones(20_000_000).sum()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(min(faults() for _ in range(3)))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's malloc")
def test_freed_memory_is_used_again():
    faults = [
        int(
            subprocess.run(
                [sys.executable, "-c", CODE.format(call=call)],
                capture_output=True,
                text=True,
                check=True,
            ).stdout
        )
        for call in ("", "reuse_memory()")
    ]
    pages = 4 * 80_000_000 // resource.getpagesize()
    assert faults[1] < pages // 50 and faults[1] <= faults[0]  # one round may meet other users
