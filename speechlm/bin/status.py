"""All trainings of a recipe at a glance: state, updates, losses, speed, time left, what is odd.

A row a training, from what it leaves in its folder, also while it runs, and on other machines.
Beside the loss: how it has changed over the last fifth of the updates. Accuracies are those of the
masked frames (middle, top). Nothing is written.
"""

from __future__ import annotations

import io
import shutil
import sys
import time
from collections.abc import Sequence

from speechlm.bin._cli import at_least, parser, run


def main() -> None:
    """Parse, read, print."""
    options = parser(__doc__)
    options.add_argument(
        "folders", nargs="*", default=["exp"], help="folders of trainings, or such with some below"
    )
    options.add_argument(
        "--watch",
        type=at_least(1),
        nargs="?",
        const=5,
        metavar="SECONDS",
        help="show it again every so many seconds (5), until Ctrl-C",
    )
    args = options.parse_args()

    if isinstance(sys.stdout, io.TextIOWrapper):  # names in letters that the locale has not
        sys.stdout.reconfigure(errors="replace")
    try:
        show(args.folders, args.watch)
    except KeyboardInterrupt:
        if not args.watch:
            raise


def show(folders: Sequence[str], every: int | None) -> None:
    """Print the table once, or every so many seconds without end.

    Raises:
        ValueError: there are no trainings.
    """
    from speechlm.progress.screen import is_terminal
    from speechlm.score.status_table import status_table
    from speechlm.score.training_status import find_trainings, status_of

    terminal = is_terminal(sys.stdout)
    while True:
        trainings = [status_of(folder) for folder in find_trainings(folders)]
        width = shutil.get_terminal_size().columns - 1 if terminal else None
        text = status_table(trainings, width)
        if every and terminal:  # from the screen's first line on, and nothing below
            text = f"\x1b[H\x1b[J{text}"
        if every:
            text += time.strftime("%Y-%m-%d %H:%M:%S\n")
        print(text, end="", flush=True)
        if not every:
            return
        time.sleep(every)


if __name__ == "__main__":
    run(main)
