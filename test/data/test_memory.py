"""Memory of programs over tables: ten times as many utterances take no more of it."""

import json
import tracemalloc
from dataclasses import asdict

import pytest

from speechlm.data import columns, report_items, sorting, table_blocks
from speechlm.data.conversion import Result
from speechlm.data.dir_parts import kept_split
from speechlm.data.format_finish import finish_parts
from speechlm.data.format_options import FormatOptions
from speechlm.data.format_parts import PARTS, Found, _rules, plan_parts
from speechlm.data.segments import Segment

FEW, MANY = 600, 6_000
ALLOWED = 1 << 18  # bytes; a list of the additional utterances takes 0.5 to 2 MB


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """What is in memory by design, whatever the number of utterances, is little here."""
    monkeypatch.setattr(table_blocks, "_BLOCK", 1 << 12)
    monkeypatch.setattr(columns, "_ROWS", 1 << 8)
    monkeypatch.setattr(sorting, "_HELD", 1 << 14)
    monkeypatch.setattr(report_items, "_HELD", 100)
    monkeypatch.setattr(report_items, "_BLOCK", 1 << 12)


def tables(folder, n: int, parts: bool, backwards: bool):
    """Transcripts in small letters, each of which is reported; wav.scp may be out of order."""
    folder.mkdir()
    ids = [f"s{i // 500:04d}-{i:07d}" for i in range(n)]
    name = "segments" if parts else "wav.scp"
    where = [f"{u} long 0 2" if parts else f"{u} /corpus/{u[:5]}/{u}.flac" for u in ids]
    lines = {name: where[::-1] if backwards else where}
    lines |= {"wav.scp": ["long /corpus/long.flac"]} if parts else {}
    lines |= {"utt2spk": [f"{u} {u[:5]}" for u in ids], "text": [f"{u} some words" for u in ids]}
    for table, content in lines.items():
        (folder / table).write_text("".join(f"{line}\n" for line in content))


def results(dump, parts: bool):
    """What jobs would have found: every tenth file is damaged."""
    for path in (dump / PARTS).glob("*.list"):
        with path.open() as items, path.with_suffix(".results").open("w") as file:
            file.write(f"{json.dumps(_rules(FormatOptions()))}\n")
            for n, item in enumerate(map(json.loads, items)):
                segment = Segment("long", 0, 2) if parts else None
                good = Result(item["path"], 32000, segment=segment)
                bad = Result(kind="truncated audio", detail="it is cut off")
                found = dict.fromkeys(item.get("parts", [item.get("utterance")]), good)
                if n % 10 == 9:
                    found = dict.fromkeys(found, bad)
                file.write(f"{json.dumps(asdict(Found(item['path'], not parts, '1', found)))}\n")


def peaks(folder, n: int, backwards: bool) -> dict[str, int]:
    """Bytes that each program takes at most, of Python's and numpy's."""
    tables(folder / "data", n, False, backwards)
    dump, found = folder / "dump", {}
    options = FormatOptions(max_bad_share=0.2)

    def measure(name, run, *arguments):
        tracemalloc.start()
        run(*arguments)
        found[name] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()

    measure("plan", plan_parts, folder / "data", dump, options, 3)
    results(dump, False)
    measure("finish", finish_parts, folder / "data", dump, options, 3)
    measure("split", kept_split, dump, 4)
    measure("split by speakers", kept_split, dump, 4, True)
    assert len((dump / "wav.scp").read_text().splitlines()) == n - n // 10
    return found


@pytest.mark.parametrize("backwards", [False, True])
def test_memory_does_not_grow_with_the_utterances(tmp_path, backwards):
    for name in ("few", "many"):
        (tmp_path / name).mkdir()
    few = peaks(tmp_path / "few", FEW, backwards)
    many = peaks(tmp_path / "many", MANY, backwards)
    grown = {name: many[name] - few[name] for name in few}
    assert max(grown.values()) < ALLOWED, grown
