"""Stage 1: the file of a language other than English: letters and phones of its transcripts.

Programs of later stages read it where SPEECHLM_LANGUAGE names it. Pronunciations are from
--lexicon if given, else by espeak-ng. OUTPUT.report.txt lists letters and phones with their
numbers, and those that are too rare.
"""

from __future__ import annotations

import logging

from speechlm.bin._cli import parser, run
from speechlm.bin._options import add_texts


def main() -> None:
    """Count letters and phones, write the file and the report."""
    p = parser(__doc__)
    p.add_argument("--language", required=True, help="code, such as de or pt-BR")
    add_texts(p, "texts of small letters (normalize_text); phones are those of the transcripts")
    p.add_argument("--lexicon", help="a lexicon that is looked at first (WORD PHONE PHONE ..)")
    p.add_argument(
        "--letter_share", type=float, default=5e-5, help="letters that are rarer are foreign"
    )
    p.add_argument(
        "--phone_count",
        type=int,
        default=3,
        help="phones that the transcripts have less often give way to simpler ones",
    )
    p.add_argument("--output", required=True, help="file to write")
    args = p.parse_args()

    from speechlm.data.report import kept_report
    from speechlm.tokenizers.make_language import LanguageOptions, make_language

    options = LanguageOptions(args.letter_share, args.phone_count)
    report_file = f"{args.output}.report.txt"
    with kept_report(report_file):
        report = make_language(args.language, args.text, args.output, options, args.lexicon)
    report.write(report_file)
    level = logging.WARNING if report.simplified or report.unspoken else logging.INFO
    logging.log(level, "%s: %s; all listed in %s", args.output, report.summary(), report_file)


if __name__ == "__main__":
    run(main)
