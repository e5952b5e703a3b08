"""Runs the package's programs in the process of the tests."""

import io
import logging
import runpy
import subprocess
import sys
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path
from unittest import mock


def run_main(name: str, *arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess:
    """Do what `python -m speechlm.bin.NAME ARGUMENTS` does in a folder, without a process for it.

    The module runs as `__main__`, with streams and logging of its own, up to its exit status. An
    exception that a program would show as a traceback is raised. What is about processes themselves
    is tested with processes, in test/bin and test/recipes.
    """
    out, err, code = io.StringIO(), io.StringIO(), None
    argv = [name, *map(str, arguments)]
    root = logging.getLogger()
    level = root.level
    with (
        mock.patch.object(root, "handlers", []),
        mock.patch.object(sys, "argv", argv),
        redirect_stdout(out),
        redirect_stderr(err),
        chdir(cwd or "."),
    ):
        try:
            runpy.run_module(f"speechlm.bin.{name}", run_name="__main__", alter_sys=True)
        except SystemExit as stopped:
            code = stopped.code
        finally:
            root.setLevel(level)
    if isinstance(code, str):  # what sys.exit prints at the end of a process
        err.write(f"{code}\n")
        code = 1
    return subprocess.CompletedProcess(argv, code or 0, out.getvalue(), err.getvalue())
