#!/usr/bin/env python3
"""Runs one step of a stage, unless its result is there already.

    step.py --name "train the language model" --stage 3 --output exp/lm/lm.arpa \\
        --needs dump/text/train.txt conf/lm.yaml -- COMMAND [ARGUMENT...]

The step is skipped when its output was finished by the same command from the same inputs. The
command must write its output atomically, or (with --training FOLDER) resume in that folder, which
may be the output: a training whose command or inputs changed is refused there, for two must not
mix in one folder.

Where an input is missing, the bash command in the environment variable LIST_STEPS tells which stage
makes it: it lists the steps of the recipe, on each line a stage and an output with a tab between.
"""

import argparse
import os
import resource
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from foreseen import Foreseen
from owner import TOKEN, Taken, living_jobs, owned
from process import (
    SAVE_S,
    SAVED,
    Stopped,
    die_with_parent,
    how_it_ended,
    pass_on_usr1,
    raise_when_stopped,
    start,
    stop,
)
from records import (
    HOW_OPTIONS,
    Record,
    differences,
    digest,
    essential,
    file_states,
    input_identity,
    is_unfinished,
    read_record,
    record_path,
    write_record,
)
from shown import ERASE, STDERR, Shown, is_terminal
from step_options import parse_arguments
from trouble import in_words

WAIT_FOR_OTHER_S = 30.0
STOP_S = SAVE_S + 15.0
"""Seconds that a launcher has to end its jobs, or to have a cluster cancel them."""
APPEARS_S = 30.0
"""Seconds after which a network file system must show what another machine has made."""
HOLD = Path(__file__).resolve().with_name("hold.py")
GOES_ON = "has saved its state, as it was told to stop: the next start goes on from there"
WEIGHTS = (".pth", ".safetensors")
START = "init.pth"
"""Weights in a training's folder that were there before it began."""


class StepError(Exception):
    """A reason why the step cannot run, in words for the user."""


def say(args: argparse.Namespace, text: str) -> None:
    """Print a line that begins with the stage and the name of the step."""
    before = ERASE if is_terminal(STDERR) else ""  # lines of others that move
    print(f"{before}{head(args)}: {text}", file=sys.stderr, flush=True)


def head(args: argparse.Namespace) -> str:
    """Return what the lines of a step begin with."""
    return f"stage {args.stage} | {args.name}"


def refuse_root(args: argparse.Namespace) -> None:
    """Stop where an input is the root folder: all that the machine has would be looked through."""
    for name in args.needs:
        if os.path.realpath(name) == os.path.sep:
            raise StepError(
                f"stage {args.stage} needs {name!r}, the root folder; name a folder in it"
            )


def missing_inputs(args: argparse.Namespace) -> list[str]:
    """Return the inputs that are not there, or not finished, each once."""
    names = dict.fromkeys(args.needs)
    return [n for n in names if not Path(n).exists() or is_unfinished(Path(n))]


def recipe_steps() -> dict[Path, str]:
    """Return {output: stage} of the recipe's steps; of several stages the first is taken."""
    command = os.environ.get("LIST_STEPS", "")
    listed = subprocess.run(["bash", "-c", command], stdout=subprocess.PIPE, text=True, check=False)
    steps: dict[Path, str] = {}
    for line in listed.stdout.splitlines():
        stage, *rest = line.split("\t")
        if rest:
            steps.setdefault(Path(os.path.abspath(rest[0])), stage)
    return steps


def explain_missing(args: argparse.Namespace, missing: list[str]) -> str:
    """Return what is missing and what to do about it, a line an input."""
    lines = []
    steps = recipe_steps()
    for name in missing:
        state = "is not finished" if Path(name).exists() else "is not there"
        whole = Path(os.path.abspath(name))
        # A file in an output is made by the step of the innermost output that it is in.
        stage = next((steps[path] for path in (whole, *whole.parents) if path in steps), None)
        remedy = (
            f"stage {stage} makes it: run ./run.sh --stage {stage} --stop_stage {stage} "
            "with your other options as they are"
        )
        if stage is None:
            remedy = "it is for you to provide"
        lines.append(f"stage {args.stage} needs {name}, which {state}; {remedy}")
    return "\n  ".join(lines)


def check_inputs(args: argparse.Namespace) -> None:
    """Stop where an input is not there, or not finished."""
    if missing := missing_inputs(args):
        raise StepError(explain_missing(args, missing))


def wanted_record(
    args: argparse.Namespace, identity: Callable[[Path], str] = input_identity
) -> Record:
    """Return what the record of this step should say, given the identities of its inputs."""
    ignore = HOW_OPTIONS | frozenset(args.ignore)
    command = essential(args.command, ignore)
    inputs = {name: identity(Path(name)) for name in sorted(args.needs)}
    return Record(identity=digest(command, inputs), command=command, inputs=inputs)


def is_done(
    args: argparse.Namespace, missing: list[str], identity: Callable[[Path], str] = input_identity
) -> tuple[bool, str]:
    """Whether the output is there, made by this command from these inputs, and what is to be said.

    Nothing is said of an output that was never made.
    """
    done = read_record(args.output, "done") if args.output.exists() else None
    if done is None:
        return False, ""
    lost = sorted(done.files.keys() - file_states(args.output).keys())
    if lost and args.training is None:  # of a training checkpoints may be deleted
        return False, f"to be done again: {lost[0]} is gone from {args.output}"
    if missing:
        command = essential(args.command, HOW_OPTIONS | frozenset(args.ignore))
        left = {name: known for name, known in done.inputs.items() if name not in missing}
        kept = (
            done.command == command
            and not any(Path(name).exists() for name in missing)
            and all(identity(Path(name)) == known for name, known in left.items())
        )
        return kept, f"done already (its input {missing[0]} is gone since)" if kept else ""
    wanted = wanted_record(args, identity)
    if done.identity == wanted.identity:
        return True, "done already"
    changes = "to be done again: " + "; ".join(differences(done, wanted))
    return False, changes if args.training is None else ""


def skip_if_done(args: argparse.Namespace, quiet: bool = False) -> bool:
    """Whether the step has nothing to do; says so, and unless `quiet` why it has."""
    done, words = is_done(args, missing_inputs(args))
    if done:
        record_path(args.output, "running").unlink(missing_ok=True)
    if words and (done or not quiet):
        say(args, words)
    return done


def claim_folder(folder: Path, wanted: Record) -> None:
    """Mark the folder of a training as this one's; stop where it holds another.

    What another one left that has not come to weights is removed: nothing is lost with it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    before = read_record(folder, "started")
    if before is not None and before.identity != wanted.identity:
        if any(file.suffix in WEIGHTS and file.name != START for file in folder.iterdir()):
            changes = "\n    ".join(differences(before, wanted))
            raise StepError(
                f"{folder} holds a training that was started differently:\n    {changes}\n"
                f"  Delete {folder} to train it anew. To keep both take another --tag, which is in"
                " the names of pre-trainings and fine-tunings, and of no other trainings"
            )
        for left in folder.iterdir():
            if left.is_file():
                left.unlink()
        before = None
    if before is None:
        write_record(folder, "started", wanted)


def is_elsewhere(args: argparse.Namespace) -> bool:
    """Whether the launcher may run the command on another machine: any but local.py."""
    return bool(args.launcher) and "local.py" not in [Path(word).name for word in args.launcher]


def run_command(args: argparse.Namespace, owner: Path, token: str) -> int:
    """Run the command to its end; it ends with this process, however that ends."""
    command, process = [*args.ranks, *args.command], None
    if is_elsewhere(args):  # there the job itself says that it makes the output
        command = [sys.executable, str(HOLD), str(owner), token, "--", *command]
    environment = {**os.environ, TOKEN: token, "SPEECHLM_OWNER": str(owner)}
    pass_on_usr1(lambda: [process] if process is not None else [])
    folder = record_path(args.training or args.output, "progress")
    shown = Shown(head(args), folder, lambda text: say(args, text))
    try:
        environment |= shown.environment()
        process = start([*args.launcher, *command], env=environment, **shown.streams())
        shown.begin()
        return process.wait()
    except FileNotFoundError as error:
        raise StepError(f"cannot run {error.filename}: {error.strerror}") from None
    except Stopped:
        if process is not None:
            stop([process], STOP_S)
            if process.returncode == SAVED:
                say(args, GOES_ON)
        raise
    finally:
        shown.end()


def appears(path: Path, wait_s: float) -> bool:
    """Whether a path is there, or comes into a network file system's view within `wait_s`."""
    deadline = time.monotonic() + wait_s
    while not path.exists():
        if time.monotonic() > deadline or not path.parent.is_dir():
            return False
        look = path.with_name(f".{path.name}.look")  # a change makes its client ask the server
        look.touch()
        look.unlink()
        time.sleep(0.2)
    return True


def cpu_seconds() -> float:
    """Return the user and system seconds of all children that have ended and been waited for.

    Each of them counts those that it has waited for itself: launchers their jobs, trainings their
    workers and loaders. Jobs of another machine (a cluster's) count nothing.
    """
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def note_time(args: argparse.Namespace, seconds: float, cpu: float) -> None:
    """Append stage, step, wall and CPU seconds, and output to what show_times.py reads."""
    args.times.parent.mkdir(parents=True, exist_ok=True)
    with args.times.open("a", encoding="utf-8") as file:
        file.write(f"{args.stage}\t{args.name}\t{seconds:.1f}\t{cpu:.1f}\t{args.output}\n")


def dry_run(args: argparse.Namespace) -> int:
    """Say what would run, after the steps of the same dry run that came before."""
    foreseen = Foreseen()
    missing = [name for name in missing_inputs(args) if not foreseen.has(name)]
    done, words = is_done(args, missing, foreseen.identity)
    if words:
        say(args, words)
    if not done:
        jobs = f": {args.jobs}" if args.jobs else ""
        say(
            args, f"would run{jobs}\n    {shlex.join([*args.launcher, *args.ranks, *args.command])}"
        )
        if missing:  # of unknown content
            identity = digest(args.command, missing)
        else:
            identity = wanted_record(args, foreseen.identity).identity
        foreseen.add([args.output, *args.also], identity)
    return 0


def run_step(args: argparse.Namespace, owner: Path, token: str) -> int:
    """Run the step where it is needed, record it, and return the command's exit code."""
    if skip_if_done(args):
        return 0
    check_inputs(args)
    wanted = wanted_record(args)
    if args.training is not None:
        claim_folder(args.training, wanted)
    running = record_path(args.output, "running")
    running.touch()
    record_path(args.output, "done").unlink(missing_ok=True)
    say(args, f"starts; log: {args.log}" if args.log else "starts")
    started, used = time.monotonic(), cpu_seconds()
    code = run_command(args, owner, token)
    seconds, cpu = time.monotonic() - started, cpu_seconds() - used
    if code == SAVED and args.training is not None:
        say(args, GOES_ON)
        return code
    if code != 0:
        say(args, f"{how_it_ended(code, 'failed with')} after {seconds:.1f} s")
        if code in (-signal.SIGKILL, 128 + signal.SIGKILL):  # a launcher could not cancel its jobs
            for claim in living_jobs(owner):
                say(args, f"is at work still, and the next start waits for it: {claim}")
        return code if code > 0 else 128 - code
    for made in (args.output, *args.also):
        if not appears(made, APPEARS_S if is_elsewhere(args) else 0.0):
            raise StepError(f"the command ended well but did not make {made}")
    wanted.files = file_states(args.output)
    write_record(args.output, "done", wanted)
    running.unlink(missing_ok=True)
    note_time(args, seconds, cpu)
    say(args, f"{seconds:.1f} s (CPU {cpu:.1f} s)")
    return 0


def main(argv: list[str]) -> int:
    """Run the step, or say what it would do; return the exit code."""
    args = parse_arguments(__doc__ or "", argv)
    die_with_parent()
    raise_when_stopped()
    try:
        refuse_root(args)
        if args.dry_run:
            return dry_run(args)
        if skip_if_done(args, quiet=True):  # where nothing is to be made nothing need be locked
            return 0
        check_inputs(args)  # before the lock, whose folder may be in an input that is not there
        owner = record_path(args.output, "owner")
        with owned(owner, lambda text: say(args, text), WAIT_FOR_OTHER_S) as token:
            return run_step(args, owner, token)
    except Taken as other:
        print(f"error: another run is making {args.output} right now: {other}", file=sys.stderr)
        return 1
    except StepError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"error: {in_words(error, args.output)}", file=sys.stderr)
        return 1
    except Stopped as stopped:
        say(args, f"stopped by {stopped}")
        return stopped.code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
