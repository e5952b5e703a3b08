"""What a dry run foresees: the identities of what its earlier steps would make.

Each step of a dry run is a process of its own. They share a file, named by the environment variable
`DRY_RUN_STEPS`, to which a step that would run adds a line for each path that it would make: path,
output and identity, with tabs between. A later step takes the identity of an input from there: it
says what it would do when its turn came, not what it would do now.
"""

import os
from pathlib import Path
from typing import NamedTuple

from records import digest, input_identity, read_record

VARIABLE = "DRY_RUN_STEPS"


class Made(NamedTuple):
    """A path that an earlier step would make, the output of that step, and its identity then."""

    path: Path
    output: Path
    identity: str


class Foreseen:
    """What the earlier steps of this dry run would make."""

    def __init__(self) -> None:
        self._place = os.environ.get(VARIABLE, "")
        self._made: dict[Path, Made] = {}
        if self._place and Path(self._place).exists():
            for line in Path(self._place).read_text(encoding="utf-8").splitlines():
                path, output, identity = line.split("\t")
                self._made[Path(path)] = Made(Path(path), Path(output), identity)

    def has(self, name: str) -> bool:
        """Whether an earlier step would make this path, or the folder that it is in."""
        return self._maker(Path(name)) is not None

    def identity(self, path: Path) -> str:
        """Return the identity that an input will have when its step begins."""
        made = self._maker(path)
        if made is None:
            return input_identity(path)
        if made.output == made.path == Path(os.path.abspath(path)):
            return made.identity
        # A file in an output: as it is where the same command makes it again from the same inputs.
        now = read_record(made.output, "done")
        if path.exists() and now is not None and now.identity == made.identity:
            return input_identity(path)
        return digest(made.identity, str(path))

    def add(self, outputs: list[Path], identity: str) -> None:
        """Note what a step would make: its output, then other files."""
        if not self._place:
            return
        paths = [os.path.abspath(path) for path in outputs]
        with open(self._place, "a", encoding="utf-8") as file:
            file.writelines(f"{path}\t{paths[0]}\t{identity}\n" for path in paths)

    def _maker(self, path: Path) -> Made | None:
        """The innermost of what would be made that is this path or has it."""
        whole = Path(os.path.abspath(path))
        return next((self._made[p] for p in (whole, *whole.parents) if p in self._made), None)
