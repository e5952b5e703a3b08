#!/usr/bin/env python3
"""Compares the environment of the running interpreter with a lock file.

Used by tools/install.sh; tools/check_install.py is what people want to read.
"""

import argparse
import csv
import os
import shlex
import shutil
import sys
import sysconfig
from importlib import metadata
from pathlib import Path

COMPILED = "torchaudio/lib/"
"""Where torchaudio's compiled part is, which install.sh takes out beside a CPU build of torch."""


def read_lock(path: Path) -> dict[str, str]:
    """Return {package: version} of the `name==version` lines of a lock file."""
    pins = {}
    for line in path.read_text().splitlines():
        line = line.partition("#")[0].strip()
        if line:
            name, found, version = line.partition("==")
            if not found:
                raise ValueError(f"{path}: '{line}' is not of the form name==version")
            pins[name] = version
    return pins


def installed(name: str) -> metadata.Distribution | None:
    """Return the installed distribution of that name, None if there is none."""
    try:
        return metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return None


def is_complete(dist: metadata.Distribution, torch: str | None = None) -> bool:
    """Whether every file of the package's record is there, with its size.

    .pyc files do not count, and `COMPILED` only for another build of torch than cpu.
    """
    # `dist.files` leaves out what is missing, from Python 3.12 on
    rows = list(csv.reader((dist.read_text("RECORD") or "").splitlines()))
    for name, _hash, size in rows:
        if name.endswith(".pyc") or (torch == "cpu" and name.startswith(COMPILED)):
            continue
        path = Path(str(dist.locate_file(name)))
        if not path.exists() or (size and path.stat().st_size != int(size)):
            return False
    return bool(rows)


def torch_flavor() -> str | None:
    """Return cpu or cuda for the installed torch, None if it cannot be imported."""
    try:
        import torch
    except (ImportError, OSError):
        return None
    return "cpu" if torch.version.cuda is None else "cuda"


def problems(pins: dict[str, str], torch: str | None) -> list[str]:
    """Return one line for each way in which the environment is not what the lock says."""
    lines = []
    for name, wanted in pins.items():
        dist = installed(name)
        if dist is None:
            lines.append(f"{name} {wanted} is missing")
        elif dist.version.partition("+")[0] != wanted:
            lines.append(f"{name} {wanted} is wanted, {dist.version} is there")
    if torch is not None:
        flavour = torch_flavor() or "none that loads"
        if flavour != torch:
            lines.append(f"torch: the {torch} build is wanted, found: {flavour}")
    return lines


def lacking_compiler() -> list[str]:
    """Return what is missing to compile a package: a C++ compiler, Python's headers."""
    compiler = os.environ.get("CXX") or sysconfig.get_config_var("CXX") or "c++"
    lacking = []
    if shutil.which(shlex.split(compiler)[0]) is None:
        lacking.append(f"a C++ compiler ({compiler}; Debian, Ubuntu: apt install g++)")
    header = Path(sysconfig.get_path("include"), "Python.h")
    if not header.is_file():
        package = f"python{sys.version_info[0]}.{sys.version_info[1]}-dev"
        lacking.append(f"Python's headers ({header}; Debian, Ubuntu: apt install {package})")
    return lacking


def main() -> int:
    """Print what differs; return 0 if nothing does, else 1."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("lock", type=Path)
    parser.add_argument("--torch", choices=["cpu", "cuda"], help="the build of torch to expect")
    parser.add_argument("--broken", action="store_true", help="only print incomplete packages")
    parser.add_argument("--compiler", action="store_true", help="only print what lacks to compile")
    args = parser.parse_args()
    if args.compiler:
        print("\n".join(lacking_compiler()))
        return 0
    pins = read_lock(args.lock)
    if args.broken:
        for name, version in pins.items():
            dist = installed(name)
            if name != "torch" and dist is not None and not is_complete(dist, args.torch):
                print(f"{name}=={version}")
        return 0
    lines = problems(pins, args.torch)
    for line in lines:
        print(f"verify: {line}", file=sys.stderr)
    if not lines:
        build = f", torch: {args.torch} build" if args.torch else ""
        print(f"verify: {len(pins)} packages as in {args.lock}{build}")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
