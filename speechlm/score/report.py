"""RESULTS.md in ESPnet's shape, and a table that compares systems."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from datetime import datetime
from importlib import metadata
from pathlib import Path

import yaml

from speechlm.data.atomic import output_file
from speechlm.score.error_rate import COLUMNS, ErrorCounts, read_score

_PACKAGES = ("espnet", "torch", "numpy")


def environment(command: str, seed: str) -> list[str]:
    """Markdown lines: date, command, commit, versions, hardware, seed."""
    versions = [f"- {name} version: `{_version(name)}`" for name in _PACKAGES]
    return [
        "## Environments",
        f"- date: `{datetime.now().astimezone():%a %b %d %H:%M:%S %Z %Y}`",
        f"- command: `{command}`",
        f"- python version: `{platform.python_version()}`",
        *versions,
        f"- git hash: `{_git('rev-parse', 'HEAD')}`",
        f"  - commit date: `{_git('log', '-1', '--format=%cd')}`",
        f"- hardware: `{hardware()}`",
        f"- seed: `{seed}`",
    ]


def hardware() -> str:
    """Processor, its cores, and the GPUs if there are any."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
        name = next((x.split(":")[1].strip() for x in lines if x.startswith("model name")), name)
    gpus = _run("nvidia-smi", "--query-gpu=name", "--format=csv,noheader").splitlines()
    return ", ".join([f"{name}, {os.cpu_count()} cores", *gpus])


def write_results(
    output: str | os.PathLike[str],
    systems: Mapping[str, Sequence[str | os.PathLike[str]]],
    command: str,
) -> str:
    """Write RESULTS.md; returns its text.

    Args:
        output: the file.
        systems: scored folders (`exp/asr_X/decode_TEST`, with score.json) of each system.
        command: how the results can be made again.

    Raises:
        ValueError: a folder is not scored.
    """
    scores = {
        system: {Path(folder).name: read_score(folder) for folder in folders}
        for system, folders in systems.items()
    }
    seeds = sorted({_seed(Path(f).parent) for folders in systems.values() for f in folders})
    lines = ["# RESULTS", *environment(command, ", ".join(seeds)), ""]
    if len(systems) > 1:
        lines += ["## Systems", *comparison(scores), ""]
    for system, tests in scores.items():
        lines += [f"## {system}"]
        for rate in ("WER", "CER"):
            lines += [f"### {rate}", "", *_table(tests, rate), ""]
    text = "\n".join(lines).rstrip() + "\n"
    with output_file(output) as path:
        path.write_text(text, encoding="utf-8")
    return text


def comparison(scores: Mapping[str, Mapping[str, Mapping[str, ErrorCounts]]]) -> list[str]:
    """Markdown table: one line a system, WER and CER of each test set."""
    tests = sorted({test for by_test in scores.values() for test in by_test})
    head = ["system", *(f"{test} {rate}" for test in tests for rate in ("WER", "CER"))]
    lines = ["", _line(head), _line(["---"] * len(head))]
    for system, by_test in scores.items():
        cells = [
            f"{by_test[test][rate].rate:.1f}" if test in by_test else "-"
            for test in tests
            for rate in ("WER", "CER")
        ]
        lines.append(_line([system, *cells]))
    return lines


def _table(tests: Mapping[str, Mapping[str, ErrorCounts]], rate: str) -> list[str]:
    rows = [_line([test, *by_rate[rate].row()]) for test, by_rate in sorted(tests.items())]
    return [_line(["dataset", *COLUMNS]), _line(["---"] * (len(COLUMNS) + 1)), *rows]


def _line(cells: Sequence[str]) -> str:
    return f"|{'|'.join(cells)}|"


def _seed(folder: Path) -> str:
    path = folder / "config.yaml"
    if not path.is_file():
        return "unknown"
    return str(yaml.safe_load(path.read_text(encoding="utf-8")).get("seed", "unknown"))


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _git(*arguments: str) -> str:
    return _run("git", "-C", str(Path(__file__).parent), *arguments) or "not a git checkout"


def _run(*command: str) -> str:
    """Output of a program, or nothing if it is not there or fails."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
