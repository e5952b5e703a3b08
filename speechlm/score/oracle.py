"""The oracle of n-best lists: word errors if always the best of the first n entries were taken.

What rescoring of a list could reach at most. `nbest.tsv` of a decoding has a header and one entry a
line, with tabs between: the utterance's id, its rank from 1, scores, and the words as `text`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import kaldialign

from speechlm.data.encoding import text_lines
from speechlm.data.kaldi_dir import show_ids
from speechlm.decode.hypotheses import COLUMNS
from speechlm.score.markdown import markdown_table

_AGAIN = "decode again (stage 13)"


@dataclass
class Oracle:
    """Word errors by the number of entries that one may choose from."""

    utterances: int
    tokens: int
    """Words of the references."""
    entries: int
    """Of all lists together."""
    without: int
    """Utterances without an entry; they count as if nothing was written."""
    other_first: int
    """Utterances whose first entry is not what was scored as the hypothesis."""
    errors: dict[str, int]
    """Errors of the best of the first n entries, by n."""
    ranks: dict[str, int]
    """How many utterances have their best entry (the first one of these) at a rank."""

    @property
    def rate(self) -> float:
        """Oracle WER of the whole lists, in percent."""
        return self.rate_of(self.errors["all"])

    def rate_of(self, errors: int) -> float:
        """Errors per word of the references, in percent."""
        return 100.0 * errors / max(1, self.tokens)


@dataclass
class _List:
    """What is kept of an utterance's list."""

    length: int = 0
    first: str = ""
    steps: list[tuple[int, int]] = field(default_factory=list)
    """(rank, errors) of the entries that are better than all before them."""

    def errors(self, most: int) -> int:
        """Fewest errors among the first `most` entries."""
        return min(errors for rank, errors in self.steps if rank <= most)


def read_oracle(
    path: str | os.PathLike[str], references: Mapping[str, str], hypotheses: Mapping[str, str]
) -> Oracle:
    """Score all entries of n-best lists; they are read one by one, none is kept.

    Args:
        path: `nbest.tsv`.
        references: by utterance.
        hypotheses: what was decoded; lists may lack utterances in which that is empty.

    Raises:
        ValueError: the table is damaged, its ranks are not 1, 2, 3, ..., or it is of other
            utterances (they are named).
    """
    lists = {utterance: _List() for utterance in references}
    words = {utterance: reference.split() for utterance, reference in references.items()}
    for utterance, rank, text in _entries(Path(path), lists):
        found = lists[utterance]
        found.length = rank
        if rank == 1:
            found.first = text
        errors = kaldialign.edit_distance(words[utterance], text.split())["total"]
        if not found.steps or errors < found.steps[-1][1]:
            found.steps.append((rank, errors))
    missing = [u for u in lists if not lists[u].length and hypotheses[u].strip()]
    if missing:
        raise ValueError(
            f"{path}: a list for each utterance with a hypothesis expected, none for "
            f"{len(missing)}: {show_ids(missing)}; {_AGAIN}"
        )
    return _summary(lists, words, hypotheses)


def _entries(path: Path, lists: Mapping[str, _List]) -> Iterator[tuple[str, int, str]]:
    """(id, rank, text) of each line, checked."""
    lines = text_lines(path)
    if tuple(next(lines, (0, ""))[1].split("\t")) != COLUMNS:
        raise ValueError(f"{path}: a first line of {' '.join(COLUMNS)} expected; {_AGAIN}")
    for number, line in lines:
        fields = line.split("\t")
        where = f"{path}:{number}"
        if len(fields) != len(COLUMNS):
            raise ValueError(
                f"{where}: {len(COLUMNS)} fields expected, got {len(fields)}; {_AGAIN}"
            )
        utterance, rank, text = fields[0], fields[1], fields[-1]
        if utterance not in lists:
            raise ValueError(f"{where}: {utterance} is not among the references; {_AGAIN}")
        expected = lists[utterance].length + 1
        if rank != str(expected):
            raise ValueError(
                f"{where}: rank {expected} of {utterance} expected, got {rank}; {_AGAIN}"
            )
        yield utterance, expected, text


def _summary(
    lists: dict[str, _List], words: Mapping[str, list[str]], hypotheses: Mapping[str, str]
) -> Oracle:
    for utterance, found in lists.items():
        if not found.length:  # nothing was written: all words are deleted
            found.steps.append((1, len(words[utterance])))
    deepest = max(found.length for found in lists.values())
    errors = {
        str(n): sum(found.errors(n) for found in lists.values()) for n in _depths(max(1, deepest))
    }
    ranks: dict[int, int] = {}
    for found in lists.values():
        if found.length:
            ranks[found.steps[-1][0]] = ranks.get(found.steps[-1][0], 0) + 1
    return Oracle(
        utterances=len(lists),
        tokens=sum(map(len, words.values())),
        entries=sum(found.length for found in lists.values()),
        without=sum(not found.length for found in lists.values()),
        other_first=sum(f.first.split() != hypotheses[u].split() for u, f in lists.items()),
        errors=errors | {"all": sum(found.steps[-1][1] for found in lists.values())},
        ranks={str(rank): ranks[rank] for rank in sorted(ranks)},
    )


def _depths(deepest: int) -> list[int]:
    """1, 2, 5, 10, 20, 50, ..., as far as the lists go."""
    steps = (step * 10**power for power in range(len(str(deepest))) for step in (1, 2, 5))
    return [step for step in steps if step < deepest] or [1]


def oracle_table(oracle: Oracle) -> str:
    """Markdown: oracle WER by length of the lists, and at which ranks the best entries are."""
    rows = []
    last = 0
    for depth, errors in oracle.errors.items():
        most = int(depth) if depth != "all" else max(map(int, oracle.ranks), default=0)
        here = sum(n for rank, n in oracle.ranks.items() if last < int(rank) <= most)
        rows.append((depth, f"{oracle.rate_of(errors):.1f}", str(here)))
        last = most
    table = markdown_table(("entries", "oracle WER", "best entry first here"), rows)
    mean = oracle.entries / oracle.utterances
    more = f", none for {oracle.without} utterances" if oracle.without else ""
    if oracle.other_first:
        more += f"; the first entry is another than the hypothesis in {oracle.other_first}"
    return f"Oracle of the n-best lists ({mean:.1f} entries an utterance{more})\n\n{table}"
