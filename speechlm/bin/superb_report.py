"""Stage 14: results of superb_judge as tables with intervals, and a picture of layer weights."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from speechlm.bin._cli import at_least, parser, run


def main() -> None:
    """Read the results, write OUTPUT and OUTPUT's picture."""
    options = parser(__doc__)
    options.add_argument("--results", nargs="+", required=True, help="folders of superb_judge")
    options.add_argument("--picture", required=True, help="PNG file of the layers' weights")
    options.add_argument("--resamples", type=at_least(100), default=1000, help="for intervals")
    options.add_argument("--seed", type=int, default=1, help="of these draws")
    options.add_argument("--output", required=True, help="Markdown file")
    args = options.parse_args()

    from speechlm.data.atomic import write_text
    from speechlm.superb.report import draw_weights, missing, write_report
    from speechlm.superb.results import read_result

    results = [read_result(folder) for folder in args.results]
    drawn = draw_weights(results, args.picture)
    place = os.path.relpath(args.picture, Path(args.output).parent) if drawn else ""
    write_text(args.output, write_report(results, args.resamples, args.seed, place))
    if sentence := missing(results):
        logging.warning(sentence)
    logging.info("report: %s", args.output)


if __name__ == "__main__":
    run(main)
