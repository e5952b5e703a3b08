"""Show, check or time the phoneme units that a text corpus becomes."""

import json
import logging
import sys

from speechlm.bin._cli import parser, run


def main() -> None:
    """Parse, then print some lines, report on all, or measure."""
    p = parser(__doc__)
    p.add_argument("--text", required=True, help="normalised text, one sentence a line")
    p.add_argument("--lexicon", required=True, help="lexicon.txt of make_lexicon")
    p.add_argument("--durations", help="from estimate_durations; else the paper's constants")
    p.add_argument("--seed", type=int, default=0, help="of all draws")
    p.add_argument("--epoch", type=int, default=0, help="every epoch draws anew")
    p.add_argument("--print", type=int, default=0, metavar="N", help="print the first N lines")
    p.add_argument(
        "--report", metavar="FILE", help="tokenize all lines and list dropped ones, unknown words"
    )
    p.add_argument(
        "--benchmark",
        type=float,
        default=0,
        metavar="SECONDS",
        help="measure for so long; the last line of output is JSON",
    )
    args = p.parse_args()

    from speechlm.data.lexicon import Lexicon
    from speechlm.data.text_corpus import TextCorpus
    from speechlm.tokenizers import text_report
    from speechlm.tokenizers.durations import DurationTable

    corpus = TextCorpus(args.text)
    table = DurationTable.read(args.durations) if args.durations else None
    tokenizer = text_report.make_tokenizer(Lexicon.read(args.lexicon), args.seed, table)
    for row in text_report.show(tokenizer, corpus, args.print, args.epoch):
        print(row)
    if args.report:
        report = text_report.check(tokenizer, corpus, args.epoch)
        report.write(args.report)
        logging.info("%s: %s", args.report, report.summary())
    if args.benchmark:
        json.dump(text_report.benchmark(tokenizer, corpus, args.benchmark), sys.stdout)
        print()


if __name__ == "__main__":
    run(main)
