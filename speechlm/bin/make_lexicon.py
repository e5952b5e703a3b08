"""Stages 3 and 5: make a lexicon that pronounces every word of some texts.

Pronunciations are from --lexicon if given, else from CMUdict, else predicted; in other languages
than English (SPEECHLM_LANGUAGE) by espeak-ng. Writes lexicon.txt, words.txt, known.txt (without the
words whose pronunciation was guessed), predicted.txt, and unspoken.txt: words left out, if any.
"""

import logging

from speechlm.bin._cli import parser, run
from speechlm.bin._options import add_texts


def main() -> None:
    """Parse, make the lexicon, report where the pronunciations are from."""
    p = parser(__doc__)
    add_texts(p, "normalised texts")
    p.add_argument("--lexicon", help="a lexicon that is looked at first (WORD PHONE PHONE ..)")
    p.add_argument(
        "--max_words",
        type=int,
        default=0,
        help="keep only so many of the most frequent words, besides those of Kaldi transcripts; "
        "0: all",
    )
    p.add_argument("--output", required=True, help="folder to make")
    args = p.parse_args()

    from speechlm.tokenizers.covering_lexicon import choose_words, cover, read_given

    given = read_given(args.lexicon) if args.lexicon else None
    made = cover(choose_words(args.text, args.max_words), given)
    made.write(args.output)
    sources = ", ".join(f"{source} {n}" for source, n in made.sources.most_common())
    logging.info("%s: %d words: %s", args.output, len(made.lexicon), sources)


if __name__ == "__main__":
    run(main)
