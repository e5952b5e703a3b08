"""Run a program of ESPnet (asr_train, asr_inference) that knows SpeechLM's modules.

These are `frontend: speechlm` and `encoder: speechlm_pretrained`. The program's own options follow
its name.
"""

from __future__ import annotations

import importlib
import inspect
import sys

from speechlm.bin._cli import parser, run

PROGRAMS = ("asr_train", "asr_inference")


def main() -> None:
    """Start espnet2.bin.PROGRAM with the arguments that follow its name."""
    program = parser(__doc__)
    program.add_argument("program", choices=PROGRAMS, help="its options follow")
    args = program.parse_args(sys.argv[1:2])

    from speechlm.tasks.espnet_modules import PretrainedSpeechLMEncoder, SpeechLMFrontend

    sys.argv = [f"espnet2.bin.{args.program}", *sys.argv[2:]]
    try:
        importlib.import_module(sys.argv[0]).main()
    except TypeError as error:  # what Python says of options that a class does not take
        for conf, module in (
            ("frontend_conf of frontend: speechlm", SpeechLMFrontend),
            ("encoder_conf of encoder: speechlm_pretrained", PretrainedSpeechLMEncoder),
        ):
            if str(error).startswith(f"{module.__name__}.__init__() "):
                options = ", ".join(inspect.signature(module).parameters)
                what = str(error).partition("() ")[2]
                raise ValueError(f"{conf}: {what}; it takes: {options}") from None
        raise


if __name__ == "__main__":
    run(main)
