"""Decoding with word models: errors against time for both searches, and what graphs cost."""

from __future__ import annotations

import argparse
import dataclasses
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.made_up_arpa import write_made_up_arpa

if TYPE_CHECKING:
    import numpy as np

    from speechlm.decode.ctc_search import Weights
    from speechlm.decode.decode_set import Search

Row = dict[str, Any]

GRAPH_BEAMS = ((8.0, 300), (10.0, 500), (12.0, 1000), (14.0, 3000), (16.0, 6000))
"""Beam and most active states of the graph search."""
FLASHLIGHT_BEAMS = (50, 100, 250, 500, 1500)


def add_decode(command: argparse.ArgumentParser) -> None:
    """What is decoded, and which graphs are built."""
    command.add_argument("--emissions", help="folder of the program emissions")
    command.add_argument("--graph", help="folder of make_ctc_graph, for both searches")
    command.add_argument("--data_dir", help="whose utterances are decoded, with text")
    command.add_argument("--weights", help="weights.json of tune_ctc; none: the paper's")
    command.add_argument(
        "--build",
        nargs=2,
        action="append",
        metavar=("ARPA", "LEXICON"),
        help="build the graph of these; may be given several times",
    )
    command.add_argument("--made_up_ngrams", type=int, help="build a made-up trigram's graph")
    command.add_argument("--made_up_words", type=int, default=200_000, help="of that model")


def decode(args: argparse.Namespace) -> dict[str, list[Row]]:
    """WER and real-time factor of both searches on the same emissions; cost of building graphs."""
    parts = (args.emissions, args.graph, args.data_dir)
    if any(parts) and not all(parts):
        sys.exit("error: --emissions, --graph and --data_dir belong together")
    searches = list(_searches(args)) if args.emissions else []
    graphs = list(_graphs(args))
    for rows in (searches, graphs):
        if rows:
            print(_table(rows))
    return {"searches": searches, "graphs": graphs}


def _searches(args: argparse.Namespace) -> Iterator[Row]:
    """A row for each search and width."""
    from speechlm.conventions import SAMPLE_RATE
    from speechlm.data.kaldi_dir import DataDir, read_table
    from speechlm.decode.ctc_search import Weights
    from speechlm.decode.emissions import Emissions
    from speechlm.decode.search_settings import Tuned

    samples = DataDir.read(args.data_dir).samples()
    archive = Emissions(args.emissions, samples)
    emissions = {utterance: archive[utterance] for utterance in samples}
    references = read_table(Path(args.data_dir) / "text", empty=True)
    weights = Tuned.read(args.weights).weights if args.weights else Weights()
    print(f"weights: {dataclasses.asdict(weights)}", file=sys.stderr)
    for name, width, search in _each_search(Path(args.graph)):
        row = _measured(search, emissions, weights, references, args.repeats)
        factor = row["cpu_seconds"] / (sum(samples.values()) / SAMPLE_RATE)
        yield {"search": name, "beam": width, **row, "real_time_factor": round(factor, 5)}


def _each_search(graph: Path) -> Iterator[tuple[str, str, Search]]:
    """(name, width, search), one of them in memory at a time."""
    from speechlm.decode.ctc_search import CTCSearch
    from speechlm.decode.flashlight_search import FlashlightOptions, FlashlightSearch
    from speechlm.lm.ctc_graph import ARPA_COPY, LEXICON_COPY
    from speechlm.lm.search import Beam

    through_graph = CTCSearch(graph)
    for beam, active in GRAPH_BEAMS:
        through_graph.beam = Beam(beam, active)
        yield "graph", f"{beam:g} / {active}", through_graph
    del through_graph
    asking = FlashlightSearch(graph / LEXICON_COPY, graph / ARPA_COPY)
    for width in FLASHLIGHT_BEAMS:
        asking.options = FlashlightOptions(width)
        yield "flashlight", str(width), asking


def _measured(
    search: Search,
    emissions: dict[str, np.ndarray],
    weights: Weights,
    references: dict[str, str],
    repeats: int,
) -> Row:
    """Errors, and the CPU seconds of the fastest of several runs."""
    from speechlm.score.error_rate import error_rates

    seconds = []
    for _ in range(repeats):
        start = time.process_time()
        found = {
            u: search.decode(matrix, weights) for u, matrix in emissions.items() if len(matrix)
        }
        seconds.append(time.process_time() - start)
    text = {u: " ".join(found[u].words) if u in found else "" for u in emissions}
    rates = error_rates({u: references[u] for u in emissions}, text)
    return {
        "WER": round(rates.words.rate, 2),
        "CER": round(rates.characters.rate, 2),
        "deletions": round(100 * rates.words.deletions / rates.words.tokens, 2),
        "unfinished": sum(not hypothesis.complete for hypothesis in found.values()),
        "cpu_seconds": round(min(seconds), 5),
    }


def _graphs(args: argparse.Namespace) -> Iterator[Row]:
    """A row for each graph that is built."""
    for arpa, lexicon in args.build or ():
        yield {"model": arpa, **_built(Path(arpa), Path(lexicon))}
    if args.made_up_ngrams:
        with tempfile.TemporaryDirectory() as folder:
            arpa, words = Path(folder) / "lm.arpa", Path(folder) / "words.txt"
            write_made_up_arpa(arpa, words, args.made_up_words, args.made_up_ngrams, args.seed)
            yield {"model": "made up", **_built(arpa, words)}


def _built(arpa: Path, lexicon: Path) -> Row:
    """Build a graph in a process of its own, whose memory is its own, too."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "graph"
        command = [sys.executable, "-m", "speechlm.bin.make_ctc_graph", "--lm", str(arpa)]
        command += ["--lexicon", str(lexicon), "--output", str(output)]
        before = _children_seconds()
        process = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        seconds = _children_seconds() - before
        if process.returncode:
            sys.exit(process.stderr.decode(errors="replace").strip().splitlines()[-1])
        info = json.loads((output / "info.json").read_text())
        size = (output / "graph.fst").stat().st_size
    return {
        "ngrams": sum(_counts(arpa)),
        "words": info["words"],
        "arpa_mb": round(arpa.stat().st_size / 1e6, 1),
        "states": info["states"],
        "arcs": info["arcs"],
        "graph_mb": round(size / 1e6, 1),
        "cpu_seconds": round(seconds, 1),
        "peak_gib": info["peak_gigabytes"],
    }


def _children_seconds() -> float:
    """CPU seconds of the processes that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _counts(arpa: Path) -> Iterator[int]:
    """Numbers of n-grams, which the head of an ARPA file says."""
    from speechlm.data.encoding import text_lines

    for _, line in text_lines(arpa):
        if line.startswith("ngram "):
            yield int(line.partition("=")[2])
        elif line.startswith("\\1-grams"):
            return


def _table(rows: Sequence[Row]) -> str:
    from speechlm.score.markdown import markdown_table

    return markdown_table(list(rows[0]), ([str(value) for value in row.values()] for row in rows))
