"""Stage 1: the corpus of a task of SUPERB to a data directory with sets and labels."""

from __future__ import annotations

import logging
from pathlib import Path

from speechlm.bin._cli import parser, run
from speechlm.bin._corpus import add_max_bad_share
from speechlm.bin._superb import TASKS


def main() -> None:
    """Read the corpus, write the data directory and its report."""
    options = parser(__doc__)
    options.add_argument("--task", required=True, choices=TASKS, help="what is judged")
    options.add_argument("--corpus", required=True, help="folder of the task's corpus")
    options.add_argument("--output", required=True, help="data directory to write")
    add_max_bad_share(options)
    args = options.parse_args()

    from speechlm.data.report import kept_report
    from speechlm.data.validate import REPORT
    from speechlm.superb.corpora import read_task

    path = Path(args.output, REPORT)
    with kept_report(path):
        data, report = read_task(args.task, args.corpus)
        report.check_share(len(data.data), args.max_bad_share, args.corpus)
    report.write(path)
    data.write(args.output)
    counts = {group: len(data.members(group)) for group in sorted({*data.sets.values()})}
    sizes = ", ".join(f"{n} {group}" for group, n in counts.items())
    logging.info("%s: utterances: %s; %s", args.output, sizes, report.summary())


if __name__ == "__main__":
    run(main)
