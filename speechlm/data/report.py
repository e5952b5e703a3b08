"""What a stage left out, filtered or put right, item by item, in one file with counts."""

from __future__ import annotations

import logging
import os
import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from speechlm.data.atomic import output_file
from speechlm.data.encoding import BOM, advice, refuse_wide
from speechlm.data.report_items import Item, Items

_LEFT_OUT, _FILTERED, _FIXED, _NOTED, _SORTED = "left out", "filtered", "fixed", "noted", "sorted"
_EXAMPLES = 5  # items that an error shows


@dataclass
class Report:
    """Collects items; `write` makes a table of kinds and counts, and below it all items."""

    items: Items = field(default_factory=Items)

    def leave_out(
        self, kind: str, utterance: str, path: str | os.PathLike[str], detail: str = ""
    ) -> None:
        """Note an utterance that is wrong and therefore not used."""
        self._add(_LEFT_OUT, kind, utterance, path, detail)

    def filter(
        self, kind: str, utterance: str, path: str | os.PathLike[str], detail: str = ""
    ) -> None:
        """Note an utterance that is sound but outside of the limits asked for."""
        self._add(_FILTERED, kind, utterance, path, detail)

    def fix(
        self, kind: str, utterance: str, path: str | os.PathLike[str], detail: str = ""
    ) -> None:
        """Note something that was wrong and has been put right."""
        self._add(_FIXED, kind, utterance, path, detail)

    def note(
        self, kind: str, utterance: str, path: str | os.PathLike[str], detail: str = ""
    ) -> None:
        """Note an utterance that looks wrong, but is kept as it is."""
        self._add(_NOTED, kind, utterance, path, detail)

    def sort(self, kind: str, path: str | os.PathLike[str], detail: str = "") -> None:
        """Note a file that is sound, but whose lines stood in another order than is used."""
        self._add(_SORTED, kind, Path(path).name, path, detail)

    def counts(self) -> dict[tuple[str, str], int]:
        """{(what, kind): number of items}, the most frequent first."""
        return dict(Counter((item.what, item.kind) for item in self.items).most_common())

    def ids_left_out(self) -> set[str]:
        """The ids of what is wrong."""
        return {item.utterance for item in self.items if item.what == _LEFT_OUT}

    def summary(self) -> str:
        """One line, such as `left out: 2 no transcript, 1 truncated; filtered: 3 too short`."""
        counts, groups = self.counts(), []
        for what in (_LEFT_OUT, _FILTERED, _FIXED, _NOTED, _SORTED):
            kinds = [f"{n} {kind}" for (w, kind), n in counts.items() if w == what]
            if kinds:
                groups.append(f"{what}: {', '.join(kinds)}")
        return "; ".join(groups) or "nothing wrong"

    def check_share(self, n_kept: int, max_bad_share: float, name: str) -> None:
        """Stop a stage whose corpus is no use.

        Raises:
            Refused: nothing is left, or more than a share of the corpus is wrong.
        """
        n_bad = self._n_utterances(_LEFT_OUT)
        total = n_kept + n_bad + self._n_utterances(_FILTERED)
        if n_kept and n_bad <= max_bad_share * total:
            return
        examples = _examples(i for i in self.items if i.what == _LEFT_OUT) or _examples(self.items)
        lines = "".join(
            f"\n  {i.utterance} ({i.path}): {i.kind}{', ' + i.detail if i.detail else ''}"
            for i in examples
        )
        if n_bad > max_bad_share * total:
            raise Refused(
                f"{name}: {n_bad} of {total} utterances are wrong, more than the share of"
                f" {max_bad_share:g} that is allowed (--max_bad_share). {self.summary()}."
                f" The first ones:{lines}",
                self,
            )
        message = f"{name}: no utterance is left. {self.summary()}. The first ones:{lines}"
        raise Refused(message, self)

    def write(self, path: str | os.PathLike[str], refused: str = "") -> None:
        """Write counts as `# what, kind: n` lines, then `what kind id file detail` with tabs.

        Args:
            path: the file.
            refused: why the whole corpus cannot be used, to stand first.
        """
        with output_file(path) as temporary, temporary.open("w", encoding="utf-8") as file:
            file.writelines(f"# refused: {line}\n" for line in refused.splitlines())
            if not self.items and not refused:
                file.write("# nothing wrong\n")
            for (what, kind), n in self.counts().items():
                file.write(f"# {what}, {kind}: {n}\n")
            for i in self.items:
                file.write(f"{i}\n")

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Report:
        """Read what `write` wrote; an absent file gives an empty report."""
        report = cls()
        if not Path(path).is_file():
            return report
        with open(path, encoding="utf-8", newline="\n") as file:
            for number, line in enumerate(file, 1):
                if line == "\n" or line.startswith("#"):
                    continue
                fields = line.removesuffix("\n").split("\t")
                if len(fields) != 5:
                    raise ValueError(f"{path}:{number}: 5 fields expected, got {len(fields)}")
                report.items.append(Item(*fields))
        return report

    def _n_utterances(self, what: str) -> int:
        """How many utterances there are such items of."""
        # 8 bytes for each: of 40 million, two have the same hash with a chance of 4e-5
        hashes = (hash(item.utterance) for item in self.items if item.what == what)
        return len(np.unique(np.fromiter(hashes, np.int64)))

    def _add(
        self, what: str, kind: str, utterance: str, path: str | os.PathLike[str], detail: str
    ) -> None:
        given = (
            str(value).encode("utf-8", "backslashreplace") for value in (utterance, path, detail)
        )
        values = (" ".join(value.decode().split()) for value in given)
        self.items.append(Item(what, kind, *values))


class Written(Protocol):
    """A report of any kind."""

    def write(self, path: str | os.PathLike[str], refused: str = "") -> None:
        """Write it to a file, with the reason of a refusal first."""


class Refused(ValueError):
    """An input that cannot be used, with the report of what was found in it."""

    def __init__(self, message: str, report: Written) -> None:
        super().__init__(message)
        self.report = report


@contextmanager
def kept_report(path: str | os.PathLike[str]) -> Iterator[None]:
    """Leave the report of an input that the block refuses in a file, and say where it is.

    Raises:
        ValueError: what the block raised, with the file's path.
    """
    try:
        yield
    except ValueError as error:
        report = error.report if isinstance(error, Refused) else Report()
        report.write(path, refused=str(error))
        raise ValueError(f"{error} (report: {path})") from error


def _examples(items: Iterable[Item]) -> list[Item]:
    """Five items: the first of each kind, then the second of each, ..."""
    turns: Counter[str] = Counter()
    first: list[tuple[int, int, Item]] = []
    for place, item in enumerate(items):
        turns[item.kind] += 1
        if turns[item.kind] <= _EXAMPLES:
            first.append((turns[item.kind], place, item))
    return [item for *_, item in sorted(first, key=lambda entry: entry[:2])[:_EXAMPLES]]


def tidy_lines(
    path: Path, report: Report, key: Callable[[int, bytes], str]
) -> Iterator[tuple[int, str]]:
    """Lines that are not blank, with their numbers and without their ends.

    A byte order mark, CR LF and blank lines are put right, and reported; so are lines that are no
    UTF-8 text, which are left out.

    Args:
        path: the file; lines end in line feeds, which the last one may lack.
        report: where to note this.
        key: the id of a line that is no UTF-8 text, from its number and its bytes.

    Raises:
        ValueError: the file is UTF-16 or UTF-32, has bytes of zero, as after a crash, or carriage
            returns as its only line ends.
    """
    refuse_wide(path)
    _refuse_one_line(path)
    n_crlf = n_foreign = 0
    with path.open("rb") as file:
        for number, raw in enumerate(file, 1):
            if number == 1 and raw.startswith(BOM):
                raw = raw.removeprefix(BOM)
                report.fix("byte order mark", path.name, path)
            if b"\0" in raw:
                raise ValueError(f"{path}:{number}: damaged: it has bytes of zero; get it anew")
            n_crlf += raw.endswith(b"\r\n")
            try:
                line = raw.rstrip(b"\r\n").decode("utf-8")
            except UnicodeDecodeError:
                if not n_foreign:
                    logging.warning("%s:%d: UTF-8 text expected; %s", path, number, advice(path))
                n_foreign += 1
                report.leave_out("not UTF-8 text", key(number, raw), path, f"line {number}")
                continue
            if line.strip():
                yield number, line
            else:
                report.fix("blank line", path.name, path, f"line {number}")
    if n_crlf:
        report.fix("CR LF line ends", path.name, path, f"{n_crlf} lines")


def _refuse_one_line(path: Path) -> None:
    """ValueError if a file is a single line for us, but many lines for who wrote it."""
    with path.open("rb") as file:
        first = file.readline().rstrip(b"\r\n")
        if b"\r" in first and not file.readline():
            raise ValueError(
                f"{path}: its lines end in carriage returns alone; give them line feeds:"
                f" tr '\\r' '\\n' < {shlex.quote(str(path))} > NEW"
            )
