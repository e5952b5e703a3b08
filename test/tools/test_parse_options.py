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
share=0.1      # part of them
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
        (["--empty", "true", "--empty", "b"], "<1><false><a b><b>"),
        (["--stage", "999999999999999999"], "<999999999999999999><false><a b><>"),
        (["--sets", "5", "--empty", "7", "--sets", "c d", "--empty", "e"], "<1><false><c d><e>"),
    ],
)
def test_values(script, words, printed):
    result = script(*words)
    assert (result.returncode, result.stdout) == (0, printed), result.stderr


@pytest.mark.parametrize("value", ["0.25", "3", ".5", "2.", "1e-3", "-0.5"])
def test_decimal_numbers(script, tmp_path, value):
    path = tmp_path / "script.sh"
    path.write_text(path.read_text() + 'printf "<%s>" "${share}"\n')
    assert script("--share", value).stdout == f"<1><false><a b><><{value}>"


def test_help_is_the_option_block(script):
    result = script("--sets", "c d", "--help")
    assert result.returncode == 0
    lines = result.stdout.splitlines()
    assert lines[0] == "Does a thing."
    assert "  --stage              first stage" in lines
    assert "                       (of many) [1]" in lines
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
        (["--dry_run=maybe"], "--dry_run takes true or false, not 'maybe'"),
        (["--dry_run", "maybe"], "--dry_run takes true or false, not 'maybe'"),
        (["--dry_run", "", "--stage", "2"], "--dry_run takes true or false, not ''"),
        (["--help=x"], "--help takes no value"),
        (["--hlep"], "unknown option --hlep; the nearest valid one is --help"),
        (["--stage", "18446744073709551617"], "--stage takes a number of at most 18 digits"),
        (["--share", "abc"], "--share takes a decimal number, not 'abc'"),
        (["--share", "1.2.3"], "--share takes a decimal number, not '1.2.3'"),
        (["--share", "."], "--share takes a decimal number, not '.'"),
        (["--share="], "--share takes a decimal number, not ''"),
        (["3"], "'3' is not an option"),
    ],
)
def test_wrong_options_are_explained(script, words, message):
    result = script(*words)
    assert result.returncode == 1 and message in result.stderr and not result.stdout


PART = """#!/usr/bin/env bash
# A part of the script.

# <options>
# The part
layers=2       # how many
# </options>
unlisted=7     # no option
"""


@pytest.fixture
def in_parts(script, tmp_path):
    """The same script with a file that it sources, which has options of its own."""
    (tmp_path / "part.sh").write_text(PART)
    path = tmp_path / "script.sh"
    before = f'. "{tmp_path}/part.sh"\noption_files=("{tmp_path}/part.sh")\n. "'
    after = "printf '<%s>' \"${layers}\"\n"
    path.write_text(path.read_text().replace('. "', before, 1) + after)
    return script


def test_options_of_a_sourced_file(in_parts):
    assert in_parts().stdout == "<1><false><a b><><2>"
    assert in_parts("--layers", "5", "--stage", "3").stdout == "<3><false><a b><><5>"
    lines = in_parts("--layers", "5", "--help").stdout.splitlines()
    assert "                       (of many) [1]" in lines
    assert lines[-2:] == ["The part", "  --layers             how many [5]"]
    assert "A part of the script." not in lines


def test_wrong_options_of_a_sourced_file(in_parts):
    assert "--layers takes a number, not 'all'" in in_parts("--layers", "all").stderr
    assert "the nearest valid one is --layers" in in_parts("--layer", "3").stderr
    assert "unknown option --unlisted" in in_parts("--unlisted", "3").stderr
