#!/usr/bin/env python3
"""Writes doc/commands.md: every `python -m speechlm.bin.NAME` by stage, with its options.

    python tools/make_commands.py            # writes the page
    python tools/make_commands.py --check    # fails if the page is not what would be written

A command's text is the docstring of its file, whose first words say its stages ("Stage 3: ...",
"Stages 4 and 5: ..."); commands that no stage runs begin otherwise. The options come from the
argparse parser that the command builds. The stages' names are those of README.md's table.
"""

from __future__ import annotations

import argparse
import importlib
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "doc" / "commands.md"
STAGES = re.compile(r"Stages? (\d+(?:(?:, | and )\d+)*): (?=\S)")
HEAD = """# Commands

<!-- Written by tools/make_commands.py from the files in speechlm/bin; do not change it by hand. -->

`python -m speechlm.bin.NAME`, after `. egs/TEMPLATE/path.sh`; where the package is installed also
`speechlm NAME`. The recipes call these in their stages; each also has `--help`, and `speechlm
--help` has a line for each. JOB is the number of a parallel job. Wrong input ends in one line
that begins with `error:` and exit code 1; `SPEECHLM_TRACEBACK=1` shows the traceback as well.
"""


class _Built(Exception):
    """Carries a parser out of the main that has built it."""


@dataclass(frozen=True)
class Command:
    """One main: its name, stages, what it does, and its parser."""

    name: str
    stages: tuple[int, ...]
    """Numbers of the stages that run it; none for commands beside the recipes."""
    text: str
    parser: argparse.ArgumentParser


def names() -> list[str]:
    """Return the names of all mains."""
    files = (ROOT / "speechlm" / "bin").glob("[!_]*.py")
    return sorted(path.stem for path in files)


def parser_of(name: str) -> argparse.ArgumentParser:
    """Return the parser that a main builds, by calling it until it would parse.

    Raises:
        ValueError: the main ends, or exits, without having parsed options.
    """
    main = importlib.import_module(f"speechlm.bin.{name}").main

    def stop(parser: argparse.ArgumentParser, *_: object, **__: object) -> None:
        raise _Built(parser)

    parse = mock.patch.object(argparse.ArgumentParser, "parse_known_args", stop)
    with parse, mock.patch.object(sys, "argv", [name]):
        try:
            main()
        except _Built as built:
            return built.args[0]
        except SystemExit as error:
            raise ValueError(f"speechlm/bin/{name}.py: exits before it parses: {error}") from None
    raise ValueError(f"speechlm/bin/{name}.py: main() parses no options")


def read_command(name: str) -> Command:
    """Return what there is to say of a main."""
    parser = parser_of(name)
    text = (parser.description or "").strip()
    match = STAGES.match(text)
    if match is None:
        return Command(name, (), text, parser)
    stages = tuple(int(number) for number in re.findall(r"\d+", match[1]))
    rest = text[match.end() :]
    return Command(name, stages, rest[0].upper() + rest[1:], parser)


def stage_names() -> dict[int, str]:
    """Return {number: name} from the table of stages in README.md."""
    rows = re.findall(r"^\| (\d+) ([^|]+?) \|", (ROOT / "README.md").read_text(), re.MULTILINE)
    return {int(number): name for number, name in rows}


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("%%", "%").replace("|", "\\|").replace("<", "&lt;")


def _value(action: argparse.Action) -> str:
    """What follows an option: its choices, the name of its value, or nothing."""
    if action.nargs == 0:
        return ""
    value = action.metavar or action.dest.upper()
    if action.choices is not None:
        value = ",".join(str(choice) for choice in action.choices)
        value = value if not action.option_strings else "{" + value + "}"
    value = str(value) if isinstance(value, str) else " ".join(value)
    return value + (" ..." if action.nargs in ("+", "*") else "")


def _default(action: argparse.Action) -> str:
    if action.required:
        return "required"
    values = action.default if isinstance(action.default, list | tuple) else [action.default]
    if action.default is None or action.nargs == 0 or not values:
        return ""
    return f"`{' '.join(str(value) for value in values)}`"


def option_row(action: argparse.Action) -> str:
    """Return the table row of an option or argument."""
    names = " ".join(action.option_strings[-1:])
    usage = f"{names} {_value(action)}".strip()
    return f"| `{_cell(usage)}` | {_default(action)} | {_cell(action.help or '')} |"


def describe(command: Command) -> str:
    """Return the section of a command."""
    lines = [f"### {command.name}", "", command.text]
    if len(command.stages) > 1:
        *first, last = command.stages
        lines += ["", f"Stages {', '.join(map(str, first))} and {last}."]
    shown = [a for a in command.parser._actions if not isinstance(a, argparse._HelpAction)]
    lines += ["", "| option | default | |", "|---|---|---|", *map(option_row, shown)]
    return "\n".join(lines)


def page() -> str:
    """Return the whole page.

    Raises:
        ValueError: a main names a stage that README.md does not have.
    """
    stages = stage_names()
    commands = [read_command(name) for name in names()]
    for command in commands:
        unknown = sorted(set(command.stages) - stages.keys())
        if unknown:
            raise ValueError(f"speechlm/bin/{command.name}.py: no stage {unknown} in README.md")
    sections = [HEAD.rstrip()]
    for number, name in stages.items():
        sections.append(f"## Stage {number}: {name}")
        own = [c for c in commands if c.stages[:1] == (number,)]
        again = [f"[{c.name}](#{c.name})" for c in commands if number in c.stages[1:]]
        if again:
            sections.append("Also " + ", ".join(again) + ".")
        elif not own:
            sections.append("No command.")
        sections += map(describe, own)
    sections.append("## Beside the stages")
    sections += [describe(command) for command in commands if not command.stages]
    return "\n\n".join(sections) + "\n"


def main() -> None:
    """Write the page, or compare it."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    options.add_argument("--check", action="store_true", help="write nothing")
    args = options.parse_args()
    sys.path.insert(0, str(ROOT))
    text = page()
    if not args.check:
        PAGE.write_text(text, encoding="utf-8")
    elif not PAGE.is_file() or PAGE.read_text(encoding="utf-8") != text:
        sys.exit("doc/commands.md is not up to date: python tools/make_commands.py makes it again")


if __name__ == "__main__":
    main()
