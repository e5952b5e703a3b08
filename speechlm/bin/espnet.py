"""Run a program of ESPnet (asr_train, asr_inference) that knows SpeechLM's modules."""

from __future__ import annotations

import importlib
import sys

from speechlm.bin._cli import parser, run

PROGRAMS = ("asr_train", "asr_inference")


def main() -> None:
    """Start espnet2.bin.PROGRAM with the arguments that follow its name."""
    options = parser(__doc__)
    options.add_argument("program", choices=PROGRAMS, help="its options follow")
    args = options.parse_args(sys.argv[1:2])

    import speechlm.tasks.espnet_modules  # noqa: F401

    sys.argv = [f"espnet2.bin.{args.program}", *sys.argv[2:]]
    importlib.import_module(sys.argv[0]).main()


if __name__ == "__main__":
    run(main)
