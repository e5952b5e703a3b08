"""Compare two results on the same test set: 95 % intervals, a paired test, sentences.

A and B are folders that `score` or `score_st` wrote, or files with hypotheses (then --ref and
--kind are needed). p is the probability of a difference as large between systems that are alike
(approximate randomisation); the intervals come from the bootstrap.
"""

from __future__ import annotations

from speechlm.bin._cli import parser, run


def main() -> None:
    """Print the table and the sentences that differ most."""
    options = parser(__doc__)
    options.add_argument("a", metavar="A", help="a result")
    options.add_argument("b", metavar="B", help="another one")
    options.add_argument("--ref", help="Kaldi text file with references, if A or B is a file")
    options.add_argument("--kind", choices=("asr", "st"), help="what files hold")
    options.add_argument("--samples", type=int, default=1000, help="resamples of each kind")
    options.add_argument("--seed", type=int, default=1, help="of the resamples")
    options.add_argument("--show", type=int, default=10, help="sentences to show")
    options.add_argument("--output", help="Markdown file to write as well")
    args = options.parse_args()
    if args.samples < 1:
        raise ValueError(f"--samples: a positive number expected, got {args.samples}")

    from speechlm.data.atomic import write_text
    from speechlm.score import compare

    a, b = (compare.read_result(path, args.ref, args.kind) for path in (args.a, args.b))
    compare.check_comparable(a, b)
    metrics = compare.metrics_of(a.kind, a.tokenizer)
    found = [compare.compare(a, b, metric, args.samples, args.seed) for metric in metrics]
    shown = metrics[0] if a.kind == "asr" else metrics[1]
    different = compare.most_different(a, b, shown, args.show)
    text = compare.comparison_table(a, b, found) + "\n"
    text += compare.differences_text(a, b, shown, different)
    if args.output:
        write_text(args.output, text)
    print(text, end="")


if __name__ == "__main__":
    run(main)
