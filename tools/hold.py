#!/usr/bin/env python3
"""Begins a job of a step on whatever machine it came to, and says beside the output that it runs.

    hold.py FOLDER TOKEN -- COMMAND [ARGUMENT...]

FOLDER holds the claims of the output (owner.py), TOKEN is that of the step which submitted the job.
Where the step is over, or another run has taken its place, the command does not begin: two would
make one output. Else this process becomes the command's.
"""

import os
import sys
from pathlib import Path

from owner import (
    TOKEN,
    Claim,
    cluster_job,
    keep_touched,
    make_claim,
    mark,
    read_claim,
    remove_claim,
)

OVER = 76
"""Exit code of a job whose step is over; not 75, with which a job asks to be started again."""
CANNOT_RUN = 127


def main(argv: list[str]) -> int:
    """Become the command, or return the exit code where that is not possible."""
    if len(argv) < 4 or argv[2] != "--":
        print((__doc__ or "").strip(), file=sys.stderr)
        return 2
    folder, token, command = Path(argv[0]).absolute(), argv[1], argv[3:]
    claim = Claim(token)
    path = folder / f"job.{cluster_job() or f'{claim.host}.{claim.pid}'}"
    try:
        path.unlink(missing_ok=True)  # of this very job, before Slurm started it again
        make_claim(path, claim)
    except FileNotFoundError:
        owner = None
    else:
        # The claim first, the question second: who takes over does it the other way round.
        owner, _ = read_claim(folder / "run")
    if owner is None or owner.token != token:
        remove_claim(path, token)
        new = f"; now it is made by {owner}" if owner else ""
        print(f"hold.py: the run that submitted this job is over{new}", file=sys.stderr)
        return OVER
    keep_touched(path, claim)
    os.environ[TOKEN] = mark(path, token)
    try:
        os.execvp(command[0], command)
    except OSError as error:
        print(f"hold.py: cannot run {command[0]}: {error.strerror}", file=sys.stderr)
        return CANNOT_RUN


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
