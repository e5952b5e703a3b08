"""Stage 11: a sentencepiece vocabulary of the translations, and what it lacks.

Writes the vocabulary's folder; --check counts the characters of references that have no piece.
"""

from __future__ import annotations

import logging

from speechlm.bin._cli import parser, run


def main() -> None:
    """Train, check, write the vocabulary's folder."""
    options = parser(__doc__)
    options.add_argument(
        "--text", required=True, nargs="+", help="Kaldi text files of the training side"
    )
    options.add_argument("--output", required=True, help="folder to write")
    options.add_argument(
        "--kind", default="char", choices=("char", "bpe"), help="what the pieces are"
    )
    options.add_argument("--size", type=int, default=1000, help="pieces of a BPE vocabulary")
    options.add_argument(
        "--style",
        default="cased",
        choices=("cased", "lower", "moses"),
        help="cased: as they are; lower: lower case, without punctuation; moses: cased, with"
        " punctuation as Moses' scripts normalize it",
    )
    options.add_argument(
        "--language",
        default="",
        help="language code of the text; the style moses and the lower case of Turkish need it",
    )
    options.add_argument(
        "--check", nargs="*", default=[], help="Kaldi text files of references to be covered"
    )
    options.add_argument(
        "--max_unknown_share",
        type=float,
        default=0.01,
        help="stop if more of the characters of a --check file is missing",
    )
    args = options.parse_args()

    from speechlm.data.kaldi_dir import read_table
    from speechlm.data.target_text import VocabularyOptions, train_vocabulary

    sentences = [s for path in args.text for s in read_table(path, empty=True).values()]
    wanted = VocabularyOptions(args.kind, args.size, args.style, args.language)
    vocabulary = train_vocabulary(sentences, wanted, " ".join(args.text))
    coverage = {}
    for path in args.check:
        references = read_table(path, empty=True)
        coverage[path] = vocabulary.check_coverage(references, path, args.max_unknown_share)
        if coverage[path].unknown:
            logging.warning("%s: %s", path, coverage[path].summary())
    vocabulary.write(args.output, coverage)
    logging.info("%s: %d pieces of %d sentences", args.output, len(vocabulary), len(sentences))


if __name__ == "__main__":
    run(main)
