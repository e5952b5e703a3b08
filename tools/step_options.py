"""The options of step.py."""

import argparse
import shlex
from pathlib import Path


def parse_arguments(description: str, argv: list[str]) -> argparse.Namespace:
    """Return the options, and the command behind `--` as `command`."""
    parser = argparse.ArgumentParser(
        prog="step.py",
        usage="step.py --name NAME --stage N --output PATH [OPTION...] -- COMMAND [ARGUMENT...]",
        description=description,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--name", required=True, help="what the step does, in a few words")
    add("--stage", required=True, help="the stage it belongs to")
    add("--output", required=True, type=Path, help="the file or folder that it makes")
    add(
        "--also",
        nargs="+",
        action="extend",
        default=[],
        type=Path,
        metavar="PATH",
        help="further files that the command makes, outside of the output",
    )
    add(
        "--needs",
        nargs="*",
        action="extend",
        default=[],
        metavar="PATH",
        help="inputs: what other steps make, or the user's own",
    )
    add(
        "--ignore",
        action="append",
        default=[],
        metavar="OPTION",
        help="an option of the command that does not change its result",
    )
    add(
        "--launcher",
        default="",
        metavar="WORDS",
        type=shlex.split,
        help="words to put before the command: how it runs, not what it does",
    )
    add(
        "--ranks",
        default="",
        metavar="WORDS",
        type=shlex.split,
        help="words to put directly before the command, in its job: what starts it several times",
    )
    add("--log", help="where the command writes what it does, to be told to the user")
    add("--training", type=Path, metavar="FOLDER", help="where the command resumes its work")
    add("--times", type=Path, default=Path("exp/times.tsv"), help="where its time is noted")
    add("--dry_run", action="store_true", help="only say what would run")
    add("--jobs", default="", metavar="WORDS", help="what a dry run says of a cluster's jobs")
    cut = argv.index("--") if "--" in argv else len(argv)
    args = parser.parse_args(argv[:cut])
    args.command = argv[cut + 1 :]
    if not args.command:
        parser.error("the command goes behind a '--'")
    return args
