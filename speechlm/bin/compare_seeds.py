"""Compare systems that were trained with several seeds: means, intervals, paired differences.

Reads the scores of all asr_SYSTEM_TAGn/decode_TEST[_DECODER] (n is the seed) in a folder of
experiments. An interval is of the mean that other seeds would give on other utterances (bootstrap
over both); p of a difference is that of a paired randomisation over the utterances within seeds.
A seed that lacks a system is named, and left out where that system is compared. egs/*/seeds.sh
trains the seeds and calls this.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from speechlm.bin._cli import at_least, fields, parser, run

_FORM = "SYSTEM:DECODER:SET:DIR"


def options() -> argparse.ArgumentParser:
    """The options."""
    p = parser(__doc__)
    add = p.add_argument
    add("--exp", nargs="+", default=["exp"], metavar="DIR", help="folders of experiments")
    add("--tests", nargs="+", required=True, metavar="SET", help="names of the test sets")
    add("--tag", default="seed", help="what stands before the seed's number in names of folders")
    add(
        "--pairs",
        nargs="+",
        default=[],
        metavar="A:B",
        help="what is compared, each SYSTEM or SYSTEM/DECODER; where neither names a decoder: with "
        "each that both have",
    )
    add(
        "--without_seed",
        nargs="*",
        default=[],
        metavar=_FORM,
        help="a result that all seeds share, such as the phone recogniser's, and its scores",
    )
    add("--title", default="Seeds", help="first line of the report")
    add("--command", help="command that gives these results; default: this one")
    add(
        "--include",
        nargs="*",
        default=[],
        metavar="HEADING:FILE",
        help="further Markdown files to put at the end, each under its heading",
    )
    add("--pictures", nargs="*", default=[], metavar="FILE", help="pictures to be shown at the end")
    add("--resamples", type=at_least(100), default=2000, help="of the intervals and tests")
    add("--seed", type=at_least(0), default=1, help="of the resamples")
    add("--rates", help="table to write of all rates, which plot_rates and plot_text read")
    add("--differences", help="table to write of all differences")
    add("--output", required=True, help="Markdown file to write")
    return p


def main() -> None:
    """Write the report and the tables, print the report's tables."""
    args = options().parse_args()

    import logging
    import os
    import shlex
    import sys

    from speechlm.data.atomic import write_text
    from speechlm.score.report import environment, results
    from speechlm.score.seed_tables import sections, write_differences, write_rates
    from speechlm.score.seeds import Trained, find_results, measure

    found, unscored = find_results(args.exp, args.tests, args.tag)
    for item in args.without_seed:
        system, decoder, test, folder = fields(item, _FORM)
        found.append(Trained(system, decoder, test, None, Path(folder)))
    measured = measure(found, args.pairs, args.resamples, args.seed)
    measured.missing.extend(unscored)
    for line in measured.missing:
        logging.warning("%s", line)
    texts = sections(measured, args.resamples, args.seed)
    print("\n\n".join(texts.values()))
    for item in args.include:
        heading, file = fields(item, "HEADING:FILE")
        texts[heading] = Path(file).read_text(encoding="utf-8")
    parent = Path(args.output).parent
    links = [f"![{Path(p).stem}]({os.path.relpath(p, parent)})" for p in args.pictures]
    if links:
        texts["Pictures"] = "\n\n".join(links)
    if args.rates:
        write_rates(args.rates, measured.rates)
    if args.differences:
        write_differences(args.differences, measured.differences)
    command = args.command or shlex.join(
        ["python", "-m", "speechlm.bin.compare_seeds"] + sys.argv[1:]
    )
    root = Path(__file__).resolve().parents[2]
    write_text(args.output, results(args.title, command, args.seed, environment(root), texts))


if __name__ == "__main__":
    run(main)
