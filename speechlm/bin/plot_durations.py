"""Stage 14: draw how long the units last that text is turned into, beside those of speech.

Units of text are made as pre-training makes them: phones from --lexicon, with the paper's durations
or measured ones (--durations), or hidden units that generate_text_units has stored (--text_units).
"""

from __future__ import annotations

from speechlm.bin._cli import at_least, parser, run


def main() -> None:
    """Count runs of units, draw the picture."""
    options = parser(__doc__)
    add = options.add_argument
    add("--units", required=True, help="folder of unit archives of speech")
    add("--name", default="units", help="what the picture calls the units")
    add(
        "--text_units",
        help="folder of generate_text_units; else --text, --lexicon and --model are needed",
    )
    add("--text", help="file of sentences, a line each")
    add("--lexicon", help="their pronunciations")
    add("--model", help="pre-trained model, whose frames the phones of text last")
    add("--durations", help="statistics of estimate_durations; default: the paper's constants")
    add("--seed", type=at_least(0), default=1, help="of the durations")
    add(
        "--max_lines",
        type=at_least(1),
        default=1000,
        help="of text and of utterances, evenly chosen",
    )
    add("--output", required=True, help="PNG file to write")
    args = options.parse_args()
    if not args.text_units and not (args.text and args.lexicon and args.model):
        raise ValueError("--text_units expected, or --text, --lexicon and --model")

    from speechlm.checkpoints.model_dir import read_description
    from speechlm.data.archives import read_unit_info
    from speechlm.data.lexicon import Lexicon
    from speechlm.data.text_corpus import TextCorpus
    from speechlm.data.unit_store import UnitStore
    from speechlm.pictures import durations as picture
    from speechlm.tokenizers.durations import DurationTable, UnitDurations
    from speechlm.tokenizers.phoneme_text import PhonemeTextTokenizer

    speech, shift = picture.runs_of_archives(args.units, args.max_lines)
    if args.text_units:
        store = UnitStore(args.text_units)
        step, text = store.frame_shift, picture.runs_of_store(store, args.max_lines)
    else:
        step = read_description(args.model).config.framing.seconds
        drawn = UnitDurations.paper(step)
        if args.durations:
            symbols = read_unit_info(args.units)[1].symbols
            spoken = [symbol for symbol in symbols if not symbol.startswith(("<", "#"))]
            table = DurationTable.read(args.durations)
            drawn = UnitDurations.from_table(table, spoken, step)
        tokenizer = PhonemeTextTokenizer(Lexicon.read(args.lexicon), args.seed, drawn)
        text = picture.runs_of_text(TextCorpus(args.text), tokenizer, step, args.max_lines)
    picture.draw_durations(speech, text, max(shift, step), args.output, args.name)


if __name__ == "__main__":
    run(main)
