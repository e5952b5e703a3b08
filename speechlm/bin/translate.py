"""Translations of recordings of any format: a line each, or a file each.

Each recording is translated as a whole: it should not be longer than the utterances of the
fine-tuning. One that cannot be read is a line among the errors (and an empty line on standard
output); the others go on, and the exit status is 1.
"""

from __future__ import annotations

import argparse
from functools import partial

from speechlm.bin._cli import parser, run
from speechlm.bin._options import add_beam, add_device, device_of
from speechlm.bin._recordings import Writing, add_recordings, write_each


def options() -> argparse.ArgumentParser:
    """The options."""
    p = parser(__doc__)
    p.add_argument("--model", required=True, help="folder of a translation fine-tuning")
    add_beam(p)
    add_device(p)
    add_recordings(p)
    return p


def open_translator(args: argparse.Namespace):
    """A function from the path of a recording to its translation."""
    from speechlm.decode.pretrained import SpeechLM

    model = SpeechLM.from_pretrained(args.model, ignore_padding=True).to(device_of(args))
    search = (args.beam, args.length_penalty, args.max_tokens)
    model.translate([], *search)  # what is wrong with the model or an option is said once
    return lambda path: model.translate([path], *search)[0]


def main() -> None:
    """Parse, translate, write."""
    args = options().parse_args()
    writing = Writing("translation", lambda _, found: f"{found.text}\n", ".txt", "\n")
    write_each(args, partial(open_translator, args), writing)


if __name__ == "__main__":
    run(main)
