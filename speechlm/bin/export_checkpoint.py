"""Write a model folder as a cleaned checkpoint of the SpeechLM authors, for their SpeechLM.py.

Of a fine-tuned model it has the encoder. An imported text-to-unit model is written as it was.
"""

from __future__ import annotations

import logging

from speechlm.bin._cli import parser, run


def main() -> None:
    """Parse, export, report."""
    options = parser(__doc__)
    options.add_argument("--input", required=True, help="folder of the model")
    options.add_argument("--output", required=True, help="file to write, e.g. speechlm.pt")
    args = options.parse_args()

    from speechlm.checkpoints.authors_export import export_checkpoint
    from speechlm.checkpoints.authors_text_to_unit import export_text_to_unit
    from speechlm.checkpoints.text_to_unit_dir import is_text_to_unit

    export = export_text_to_unit if is_text_to_unit(args.input) else export_checkpoint
    n = export(args.input, args.output)
    logging.info("%s: %d tensors", args.output, n)


if __name__ == "__main__":
    run(main)
