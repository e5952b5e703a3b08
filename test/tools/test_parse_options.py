"""Options of the recipes' scripts: --help, values, unknown options."""

import subprocess
from pathlib import Path

import pytest

SCRIPT = """#!/usr/bin/env bash
# Does a thing.
#   script.sh --stage 3
set -euo pipefail

# <options>
# Running
stage=1        # first stage
               # (of many)
dry_run=false  # only say
# Data
sets="a b"     # names of sets
empty=         # nothing yet
# </options>
. "{tools}/parse_options.sh"
printf '<%s>' "${{stage}}" "${{dry_run}}" "${{sets}}" "${{empty}}"
"""


@pytest.fixture
def script(root, tmp_path):
    path: Path = tmp_path / "script.sh"
    path.write_text(SCRIPT.format(tools=root / "tools"))

    def run(*words: str) -> subprocess.CompletedProcess:
        return subprocess.run(["bash", path, *words], capture_output=True, text=True, timeout=20)

    return run


@pytest.mark.parametrize(
    ("words", "printed"),
    [
        ([], "<1><false><a b><>"),
        (["--stage", "4", "--sets", "x  $y *"], "<4><false><x  $y *><>"),
        (["--dry_run", "--stage", "2"], "<2><true><a b><>"),
        (["--dry_run", "true", "--dry_run", "false"], "<1><false><a b><>"),
        (["--dry-run", "--empty=a=b"], "<1><true><a b><a=b>"),
        (["--sets", ""], "<1><false><><>"),
        (["--sets", "5", "--empty", "7", "--sets", "c d", "--empty", "e"], "<1><false><c d><e>"),
    ],
)
def test_values(script, words, printed):
    result = script(*words)
    assert (result.returncode, result.stdout) == (0, printed), result.stderr


def test_help_is_the_option_block(script):
    result = script("--sets", "c d", "--help")
    assert result.returncode == 0
    lines = result.stdout.splitlines()
    assert lines[0] == "Does a thing."
    assert "  --stage              first stage [1]" in lines
    assert "                       (of many)" in lines
    assert "  --sets               names of sets [c d]" in lines
    assert "  --empty              nothing yet" in lines and "Data" in lines
    assert "set -euo" not in result.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--stge", "3"], "unknown option --stge; the nearest valid one is --stage"),
        (["--dryrun"], "the nearest valid one is --dry_run"),
        (["--stage", "two"], "--stage takes a number, not 'two'"),
        (["--stage"], "--stage wants a value"),
        (["--sets", "--stage", "1"], "--sets wants a value"),
        (["--dry_run=maybe"], "true or false"),
        (["3"], "'3' is not an option"),
    ],
)
def test_wrong_options_are_explained(script, words, message):
    result = script(*words)
    assert result.returncode == 1 and message in result.stderr and not result.stdout
