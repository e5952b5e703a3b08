"""Stage 14: a report as one HTML page, with its pictures and test utterances to listen to inside.

The page needs no network and nothing beside it. Tables sort by a click on a column's name.
"""

from __future__ import annotations

from pathlib import Path

from speechlm.bin._cli import at_least, fields, parser, run
from speechlm.bin._scores import add_scores, read_scores


def main() -> None:
    """Write the page."""
    options = parser(__doc__)
    options.add_argument("--report", required=True, help="Markdown file, as report writes it")
    add_scores(options, "; all systems and decoders whose sentences are shown", default=[])
    options.add_argument(
        "--audio",
        nargs="*",
        default=[],
        metavar="SET:DIR",
        help="test sets of --scores to listen to, and their data directories",
    )
    options.add_argument(
        "--utterances", type=at_least(1), default=10, help="to listen to, of all sets together"
    )
    options.add_argument("--output", required=True, help="HTML file to write")
    args = options.parse_args()

    from speechlm.data.atomic import write_text
    from speechlm.score.listening import listening
    from speechlm.score.page import page

    report, more = Path(args.report), {}
    if args.audio:
        folders = dict(fields(item, "SET:DIR") for item in args.audio)
        part = listening(read_scores(args.scores), folders, args.utterances)
        more = {"Utterances to listen to": part}
    write_text(args.output, page(report.read_text(encoding="utf-8"), report.parent, more))


if __name__ == "__main__":
    run(main)
