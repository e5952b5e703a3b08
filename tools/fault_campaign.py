#!/usr/bin/env python3
"""Kills, starves and confuses a small run of egs/mini, and looks whether its results stay the same.

    tools/fault_campaign.py --work FOLDER [--faults kills,disk,...] [--kills 56] [--seed 1]

Runs the recipe once without faults, then a copy for each kind of fault:

    kills       SIGKILL at random times in all stages: of run.sh alone, of one process of it, of all
    disk        a disk that is full when archives and checkpoints are written, then has room again
    read_only   a folder that cannot be written
    two_runs    two runs in one folder, and a third while a process of the first is stopped
    clock       a clock that jumps a day back and forth

The small disk is a tmpfs, for which one must be root; the clock wants a C compiler. A kind that
cannot be tried here is named and left out. Ends with a table, in FOLDER/table.md too; exit code 1
where results differ, a process stays behind, or an end is not explained.
"""

import argparse
import shutil
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from faults.clocks import move_clock
from faults.disks import fill_disk, forbid_writing
from faults.kills import END_S, MISSED, kill_at_random
from faults.others import run_twice
from faults.recipe import Recipe
from faults.table import Outcome, compare, stay, table

OTHERS = {
    "disk": fill_disk,
    "read_only": forbid_writing,
    "two_runs": run_twice,
    "clock": move_clock,
}
KINDS = ("kills", *OTHERS)
FINISH_S = 3600.0


def say(text: str) -> None:
    """Print a line for the user."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def parse(argv: list[str]) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, required=True, help="an empty or new folder")
    parser.add_argument("--faults", default=",".join(KINDS), help="kinds, with commas between")
    parser.add_argument("--kills", type=int, default=56, help="SIGKILLs in all")
    parser.add_argument("--seed", type=int, default=1, help="of targets and times")
    args = parser.parse_args(argv)
    args.faults = args.faults.split(",")
    if unknown := sorted(set(args.faults) - set(KINDS)):
        parser.error(f"--faults has {', '.join(unknown)}; there are {', '.join(KINDS)}")
    if args.work.exists() and any(args.work.iterdir()):
        parser.error(f"--work {args.work} is not empty")
    return args


def reference(folder: Path) -> tuple[dict[str, str], dict[int, float]]:
    """Run the recipe without faults; return its results and the seconds of each stage.

    Raises:
        RuntimeError: It does not come to its end, or has made none of the files to compare.
    """
    recipe = Recipe(folder)
    run = recipe.start()
    code = run.wait(FINISH_S)
    if code != 0:
        raise RuntimeError(f"without faults run.sh ends with code {code}: {run.last_words()}")
    begins = [*run.stages.items(), (0, time.monotonic() - run.begun)]
    times = {stage: after - at for (stage, at), (_, after) in zip(begins, begins[1:], strict=False)}
    say("without faults: " + ", ".join(f"stage {n} {s:.0f} s" for n, s in times.items()))
    if not (results := recipe.results()):
        raise RuntimeError(f"without faults there are no results in {folder} to compare with")
    return results, times


def finish(recipe: Recipe, wanted: dict[str, str], fault: str) -> Outcome:
    """Let a recipe come to its end, and compare its results with those without faults."""
    run = recipe.start()
    code = run.wait(FINISH_S)
    said = "" if code == 0 else run.last_words()
    same = compare(wanted, recipe.results())
    left = run.end(END_S)
    return Outcome(
        f"after {fault}",
        "all stages",
        f"code {code} {said}".strip() + stay(left),
        same,
        same == "equal" and code == 0 and not left,
    )


def campaign(args: argparse.Namespace) -> Iterator[Outcome]:
    """Run the recipe without faults, then with each kind of fault."""
    wanted, times = reference(args.work / "reference")
    for kind in args.faults:
        folder = args.work / kind
        if kind == "kills":
            recipe = Recipe(folder)
            kills = 0
            for outcome in kill_at_random(recipe, times, args.kills, args.seed):
                kills += outcome.fault != MISSED
                yield outcome
            yield finish(recipe, wanted, f"{kills} kills")
        else:
            yield from OTHERS[kind](folder, partial(finish, wanted=wanted, fault=kind))


def main(argv: list[str]) -> int:
    """Run the campaign; return the exit code."""
    args = parse(argv)
    args.work.mkdir(parents=True, exist_ok=True)
    outcomes = []
    for outcome in campaign(args):
        say(("" if outcome.good else "BAD: ") + outcome.row())
        outcomes.append(outcome)
        (args.work / "table.md").write_text(table(outcomes), encoding="utf-8")
    print(table(outcomes))
    bad = sum(not outcome.good for outcome in outcomes)
    say(f"{len(outcomes)} outcomes, {bad} of them bad; {args.work / 'table.md'}")
    if not bad:
        shutil.rmtree(args.work / "reference")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
