"""Turn a checkpoint of the authors, or a folder of export_huggingface, into a model folder.

Nothing in it is run.
"""

from __future__ import annotations

import logging

from speechlm.bin._cli import parser, run


def main() -> None:
    """Parse, import, report."""
    options = parser(__doc__)
    options.add_argument(
        "--input",
        required=True,
        help="full, cleaned, fine-tuned or text-to-unit checkpoint; or folder of a SpeechLM that "
        "transformers opens",
    )
    options.add_argument("--output", required=True, help="folder of the model")
    options.add_argument(
        "--unit_dictionary",
        help="fairseq dictionary of the units, for checkpoints without one; none: the 364 phones "
        "if there are so many, else numbers",
    )
    options.add_argument(
        "--target_dictionary",
        help="fairseq dictionary of the target language, which translation checkpoints lack",
    )
    args = options.parse_args()

    from speechlm.checkpoints.authors_import import import_checkpoint
    from speechlm.checkpoints.authors_text_to_unit import holds_text_to_unit, import_text_to_unit
    from speechlm.checkpoints.hub_folder import is_hub_folder
    from speechlm.checkpoints.hub_import import import_hub_folder

    if is_hub_folder(args.input):
        if args.unit_dictionary is not None or args.target_dictionary is not None:
            raise ValueError("dictionaries are not for a folder, which has its own symbols")
        description = import_hub_folder(args.input, args.output)
        logging.info("%s: a %s SpeechLM", args.output, description.kind)
        return
    if holds_text_to_unit(args.input):
        if args.target_dictionary is not None:
            raise ValueError("--target_dictionary is not for a text-to-unit model")
        stored = import_text_to_unit(args.input, args.output, args.unit_dictionary)
        logging.info("%s: a text-to-unit model of %d units", args.output, len(stored.units))
        return
    description = import_checkpoint(
        args.input, args.output, args.unit_dictionary, args.target_dictionary
    )
    lacks = f", without {' and '.join(description.without)}" if description.without else ""
    logging.info("%s: a %s SpeechLM%s", args.output, description.kind, lacks)
    if description.kind == "translation" and description.targets is None:
        logging.info("its target symbols are not known; give --target_dictionary to decode")


if __name__ == "__main__":
    run(main)
