"""Write a pre-trained or CTC fine-tuned model as one of Hugging Face's transformers, with a card.

`import speechlm.hub` there, and the Auto classes and pipelines open it (doc/hub.md).
`import_checkpoint` makes a model folder of it again.
"""

from __future__ import annotations

import logging
from pathlib import Path

from speechlm.bin._cli import parser, run


def main() -> None:
    """Parse, export, report."""
    options = parser(__doc__)
    options.add_argument("--input", required=True, help="folder of the model")
    options.add_argument("--output", required=True, help="folder to write")
    options.add_argument("--data", help="what it was trained on, for the card")
    options.add_argument("--results", help="markdown file of its results, such as RESULTS.md")
    options.add_argument(
        "--license", help="the hub's name of a licence, such as mit; not said: unknown"
    )
    options.add_argument(
        "--languages", nargs="+", default=[], help="ISO codes of the languages, such as en"
    )
    args = options.parse_args()

    from speechlm.data.whole_files import read_lines
    from speechlm.hub.card import Card
    from speechlm.hub.export import export_huggingface

    results = "\n".join(read_lines(args.results, "results")) if args.results else None
    card = Card(args.data, results, args.license, tuple(args.languages))
    config = export_huggingface(args.input, args.output, card)
    logging.info("%s: a %s", Path(args.output), ", ".join(config.architectures or ()))


if __name__ == "__main__":
    run(main)
