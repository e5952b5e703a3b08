"""`speechlm NAME ...`: every program of this folder under one command.

`python -m speechlm.bin NAME ...` is the same where the command is not installed.
"""

from __future__ import annotations

import ast
import difflib
import importlib
import sys
from pathlib import Path
from typing import NoReturn

from speechlm import __version__
from speechlm.bin._cli import run

USAGE = "usage: speechlm NAME [options of the program]"


def programs() -> dict[str, str]:
    """The first line of what each program says of itself, by name; none is imported."""
    paths = sorted(Path(__file__).parent.glob("[!_]*.py"))
    texts = {path.stem: ast.get_docstring(ast.parse(path.read_bytes())) for path in paths}
    return {name: (text or "").partition("\n")[0] for name, text in texts.items()}


def overview() -> str:
    """What `speechlm --help` prints."""
    known = programs()
    width = max(map(len, known))
    return "\n".join(
        [
            USAGE,
            "       speechlm NAME --help | speechlm --help | speechlm --version",
            "",
            "Stages are those of the recipes. The programs:",
            *(f"  {name:<{width}}  {text}" for name, text in known.items()),
        ]
    )


def _refuse(problem: str) -> NoReturn:
    """Ends as argparse does for wrong options: exit status 2."""
    print(f"{USAGE}\nspeechlm: error: {problem}", file=sys.stderr)
    sys.exit(2)


def _choose(name: str) -> None:
    """Refuse what is not the name of a program."""
    known = programs()
    if name in known:
        return
    near = difflib.get_close_matches(name.replace("-", "_"), known)
    hint = f"did you mean {' or '.join(near)}?" if near else "speechlm --help lists them"
    _refuse(f"there is no program {name!r}; {hint}")


def _program() -> None:
    """Run the program that the first argument names, with those behind it."""
    _, name, *arguments = sys.argv
    _choose(name)
    sys.argv = [f"speechlm {name}", *arguments]
    importlib.import_module(f"speechlm.bin.{name}").main()


def main() -> NoReturn:
    """Do what the command line says; exit statuses are those of the program."""
    first = sys.argv[1] if len(sys.argv) > 1 else ""
    if not first:
        _refuse("the name of a program expected; speechlm --help lists them")
    if first in ("-h", "--help"):
        run(lambda: print(overview()))
    if first == "--version":
        run(lambda: print(f"speechlm {__version__}"))
    run(_program)


if __name__ == "__main__":
    main()
