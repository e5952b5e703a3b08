"""What step.py remembers: which command made an output, from which inputs.

An output's identity is a hash of the command that made it and of its inputs' identities. It does
not depend on when or where the output was made: making it again from the same inputs by the same
command leaves everything made from it valid, and a change of anything upstream reaches all that
depends on it. Inputs that no step made are known by their content.

Records are JSON files: DIR/.done for a folder, .FILE.done beside a file. The folder in which a
training resumes has a .started. While a step runs, .NAME.running stands beside its output: an
output with that but without a record of its end is not finished. The folder .NAME.owner beside it
says who makes it (owner.py), .NAME.progress how far it has come (shown.py).
"""

import hashlib
import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

HASH_FILE_UP_TO = 64 * 2**20  # bytes; a larger file that no step made is known by size and time
HASH_IN_FOLDER_UP_TO = 2**20
RECORDINGS = (".flac", ".wav", ".mp3", ".ogg", ".opus")
# Options that say how a result is computed, not which result.
HOW_OPTIONS = frozenset(
    (
        *("nj", "ngpu", "num_workers", "num_threads", "max_jobs", "cmd", "log", "gpu", "mem"),
        *("device", "batches_at_once", "gpu_gib"),
    )
)


@dataclass
class Record:
    """How an output was made; `files` holds [size, mtime_ns] of it when it was finished."""

    identity: str
    command: list[str]
    inputs: dict[str, str]
    files: dict[str, list[int]] = field(default_factory=dict)


def essential(command: list[str], ignore: frozenset[str]) -> list[str]:
    """Return the command without the options (and their values) that do not change its result."""
    kept: list[str] = []
    skipping = False
    for word in command:
        if word.startswith("--"):
            name, has_value, _ = word[2:].partition("=")
            ignored = name.replace("-", "_") in ignore
            skipping = ignored and not has_value
            if ignored:
                continue
        elif skipping:
            skipping = False
            continue
        kept.append(word)
    if kept and Path(kept[0]).name.startswith("python"):
        kept[0] = "python"
    return kept


def digest(*parts: object) -> str:
    """Return a short hash of plain values (32 hexadecimal digits of SHA-256)."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def record_path(output: Path, kind: str) -> Path:
    """Return where the record of an output is kept; `kind` names it, such as done or owner."""
    if output.name in ("", ".."):  # of ".", for one, only the whole path ends in a name
        output = Path(os.path.abspath(output))
    inside = kind not in ("running", "owner", "progress") and output.is_dir()
    return output / f".{kind}" if inside else output.with_name(f".{output.name}.{kind}")


def read_record(output: Path, kind: str) -> Record | None:
    """Return the record of an output, None where there is none (or a damaged one)."""
    try:
        return Record(**json.loads(record_path(output, kind).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def write_record(output: Path, kind: str, record: Record) -> None:
    """Write a record so that it is there whole or not at all."""
    path = record_path(output, kind)
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(asdict(record), indent=1), encoding="utf-8")
    os.replace(temporary, path)


def is_unfinished(output: Path) -> bool:
    """Whether a step began to make the output and did not come to its end."""
    return record_path(output, "running").exists() and read_record(output, "done") is None


def _hash_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:32]


def _file_content(path: Path, hash_up_to: int) -> list[object]:
    status = path.stat()
    if status.st_size <= hash_up_to:
        return [status.st_size, _hash_file(path)]
    return [status.st_size, status.st_mtime_ns]


def _files_in(folder: Path) -> list[Path]:
    files = [p for p in folder.iterdir() if not p.name.startswith(".") and p.is_file()]
    # Line indices are made beside a text by whoever reads it.
    return sorted(p for p in files if p.suffix != ".idx")


def content_identity(path: Path) -> str:
    """Return the identity of a file, of the files in a folder, or of a tree of folders."""
    if not path.is_dir():
        return digest(_file_content(path, HASH_FILE_UP_TO))
    files = _files_in(path)
    if not files:
        return _tree_identity(path)
    return digest({p.name: _file_content(p, HASH_IN_FOLDER_UP_TO) for p in files})


def _tree_identity(root: Path) -> str:
    """The names of all files below, and of those that are no recordings size and time as well.

    A corpus has hundreds of thousands of recordings: a changed one is not looked for.
    """
    found, seen = [], set()
    for folder, subfolders, names in os.walk(root, followlinks=True):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        real = os.path.realpath(folder)
        if real in seen:  # a link to a folder above it
            subfolders.clear()
            continue
        seen.add(real)
        for name in sorted(name for name in names if not name.startswith(".")):
            path = Path(folder, name)
            known: list[object] = [str(path.relative_to(root))]
            if path.suffix.lower() not in RECORDINGS and path.exists():
                known += [path.stat().st_size, path.stat().st_mtime_ns]
            found.append(known)
    return digest(found)


def file_states(output: Path) -> dict[str, list[int]]:
    """Return [size, mtime_ns] of an output: of the file, or of each file in the folder."""
    states = {}
    for path in _files_in(output) if output.is_dir() else [output]:
        status = path.stat()
        states[path.name] = [status.st_size, status.st_mtime_ns]
    return states


def input_identity(path: Path) -> str:
    """Return the identity of an existing input: its maker's, unless it was changed by hand."""
    record = read_record(path, "done")
    if record is None:
        return content_identity(path)
    now = file_states(path)
    if all(now.get(name) == state for name, state in record.files.items()):
        return record.identity
    return digest(record.identity, content_identity(path))


def options_of(command: list[str]) -> dict[str, str]:
    """Return {option: its values}; the words before the first option have the name "command"."""
    options: dict[str, list[str]] = {"command": []}
    name = "command"
    for word in command:
        if word.startswith("--"):
            name, _, value = word.partition("=")
            options[name] = [value] if value else []
        else:
            options[name].append(word)
    return {name: " ".join(words) for name, words in options.items()}


def differences(old: Record, new: Record) -> list[str]:
    """Return one line for each option and input in which two records differ."""
    before, after = options_of(old.command), options_of(new.command)
    lines = []
    for name in sorted(before.keys() | after.keys()):
        if before.get(name) != after.get(name):
            was, becomes = before.get(name, "(absent)"), after.get(name, "(absent)")
            lines.append(f"{name}: was {was or '(set)'}, now {becomes or '(set)'}")
    for name in sorted(old.inputs.keys() | new.inputs.keys()):
        if name not in old.inputs:
            lines.append(f"input {name} is new")
        elif name not in new.inputs:
            lines.append(f"input {name} is no longer used")
        elif old.inputs[name] != new.inputs[name]:
            lines.append(f"input {name} has changed")
    return lines or ["the order of the words of the command"]
