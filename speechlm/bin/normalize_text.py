"""Stages 1 and 2: raw text to sentences as they are spoken, one a line, and a report.

Headers and licences of Project Gutenberg, headings, tables and markup go. English becomes text in
LibriSpeech's style, with numbers and abbreviations spoken out; other languages become words of
small letters. Sentences with markup, addresses or numbers that have no sure reading are dropped, in
other languages all that have numbers or abbreviations. OUTPUT.report.txt counts what was dropped,
with examples.
"""

from __future__ import annotations

import logging

from speechlm.bin._cli import parser, run
from speechlm.bin._corpus import add_language


def main() -> None:
    """Normalise, write the text and the report."""
    options = parser(__doc__)
    options.add_argument("--input", required=True, nargs="+", help="text files or folders of *.txt")
    options.add_argument("--output", required=True, help="file to write")
    options.add_argument(
        "--kind",
        default="auto",
        choices=["auto", "book", "lines"],
        help="book: paragraphs between blank lines; lines: a sentence a line; auto: what the first"
        " 1,000 lines look like",
    )
    add_language(options)
    options.add_argument("--min_words", type=int, default=2, help="shortest sentence")
    options.add_argument("--max_words", type=int, default=40, help="longer ones are cut")
    options.add_argument(
        "--exclude",
        nargs="*",
        default=[],
        help="sentences of the dev and test sets: data directories, Kaldi text or plain text files",
    )
    options.add_argument(
        "--exclude_words",
        type=int,
        default=8,
        help="also drop sentences with so many words in a row of those; 0: only equal ones",
    )
    options.add_argument("--dev_share", type=float, default=0.0, help="share to hold out")
    options.add_argument("--dev_output", help="file for the held-out sentences")
    options.add_argument("--seed", type=int, default=1, help="of the choice of held-out sentences")
    args = options.parse_args()

    from speechlm.data.language import chosen
    from speechlm.data.report import kept_report
    from speechlm.data.text_files import TextOptions, find_files, normalize_files
    from speechlm.data.text_normalize import SentenceOptions

    lengths = SentenceOptions(args.min_words, args.max_words)
    wanted = TextOptions(
        args.kind, lengths, args.exclude_words, args.dev_share, args.seed, chosen(args.language)
    )
    report_file = f"{args.output}.report.txt"
    with kept_report(report_file):
        files = find_files(args.input)
        report = normalize_files(files, args.output, wanted, args.exclude, args.dev_output)
    report.write(report_file)
    logging.info("%s: %s", args.output, report.summary())


if __name__ == "__main__":
    run(main)
