"""Options of searches with a word model, and the search that they ask for."""

from __future__ import annotations

import argparse
import logging
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from speechlm.bin._cli import at_least

if TYPE_CHECKING:
    from speechlm.decode.ctc_search import Weights
    from speechlm.decode.decode_set import Search, WithModel
    from speechlm.decode.flashlight_search import Setting
    from speechlm.decode.hypotheses import SearchReport
    from speechlm.decode.search_settings import Tuned

WEIGHTS = {
    "lm_weight": "of log10 P(words); above 0",
    "word_score": "added for each word",
    "blank_score": "subtracted for each frame of blank",
}
"""Help of the options of weights."""
WIDTHS = {
    "graph": {
        "beam": ("--search_beam", float, "cost by which a path may be behind the best one"),
        "max_active": ("--max_active", int, "most states a frame"),
    },
    "flashlight": {
        "beam": ("--beam_size", int, "most hypotheses after a frame"),
        "beam_threshold": ("--beam_threshold", float, "score by which one may be behind"),
    },
}
"""Fields of a search's width, and the options that set them."""


def add_search(options: argparse.ArgumentParser, graph: str = "--graph") -> None:
    """--graph, or another name for it, and how to search through it; `search_of` reads them."""
    options.set_defaults(graph_option=graph)
    help_text = "folder of make_ctc_graph; none: greedy decoding"
    options.add_argument(graph, dest="graph", help=help_text)
    options.add_argument(
        "--search",
        choices=tuple(WIDTHS),
        default="graph",
        help=f"graph, or flashlight, the paper's decoder, over the lexicon and n-gram of {graph}",
    )
    options.add_argument("--tuned", help="weights.json of tune_ctc: weights and beam")
    for name, text in WEIGHTS.items():
        options.add_argument(f"--{name}", type=float, help=f"{text}; none: tuned, or the paper's")
    for search, fields in WIDTHS.items():
        for flag, kind, text in fields.values():
            options.add_argument(flag, type=kind, help=f"{search}: {text}")
    options.add_argument(
        "--paper",
        action="store_true",
        help="beside --search flashlight: the paper's weights and beam, 2, -1 and 1500; with "
        "--neural_lm 0.9 (of ln P), -0.31 and 500",
    )
    options.add_argument(
        "--ngram",
        help="flashlight asks this n-gram, of any size, in place of the graph's: ARPA, .gz, or "
        "KenLM's binary, of which jobs share the memory",
    )
    options.add_argument(
        "--neural_lm",
        help="folder of train_lm: --search flashlight asks this Transformer in place of the n-gram",
    )


def add_nbest(options: argparse.ArgumentParser, default: int) -> None:
    """--nbest."""
    options.add_argument(
        "--nbest",
        type=at_least(1),
        help=f"sentences kept of each search with a word model; none: {default}",
    )


def search_of(args: argparse.Namespace, nbest: int = 1) -> tuple[SearchReport, WithModel | None]:
    """The search that the options of `add_search` ask for; without a graph it is greedy.

    Args:
        args: values of the options.
        nbest: sentences kept of each where the options do not say.

    Raises:
        ValueError: a value is out of range, or options do not go together.
    """
    from speechlm.data.whole_files import read_json
    from speechlm.decode.decode_set import WithModel
    from speechlm.decode.hypotheses import SearchReport

    if not args.graph:
        _check_greedy(args)
        return SearchReport("greedy"), None
    _check(args)
    weights, width = _weights(args), _width(args)
    search = _open(args, width)
    graph = read_json(Path(args.graph) / "info.json", "description of a graph")
    kept: dict[str, Any] = {n: graph[n] for n in ("lm", "sha256", "words") if n in graph}
    if other := args.neural_lm or args.ngram:
        kept["lm"] = other
        kept.pop("sha256", None)  # that of the graph's n-gram
    lm = "transformer" if args.neural_lm else "ngram"
    _warn_of_other_graph(args, kept)
    report = SearchReport(args.search, lm, asdict(weights), width, kept)
    nbest = getattr(args, "nbest", None) or nbest
    return report, WithModel(search, weights, nbest, neural=bool(args.neural_lm))


def _check_greedy(args: argparse.Namespace) -> None:
    """Options of a search would have no effect."""
    flags = [flag for fields in WIDTHS.values() for flag, _, _ in fields.values()]
    flags += [
        *(f"--{name}" for name in WEIGHTS),
        "--tuned",
        "--paper",
        "--ngram",
        "--neural_lm",
        "--nbest",
    ]
    values = {flag: getattr(args, flag[2:], None) for flag in flags}
    given = [flag for flag, value in values.items() if value is not None and value is not False]
    given += ["--search"] * (args.search != "graph")
    if given:
        raise ValueError(
            f"{' '.join(given)}: for a search with a word model, which {args.graph_option} names; "
            "without it decoding is greedy"
        )


def _check(args: argparse.Namespace) -> None:
    fields = {name: values for name, values in WIDTHS.items() if name != args.search}
    for other, values in fields.items():
        for flag, _, _ in values.values():
            if getattr(args, flag[2:]) is not None:
                raise ValueError(f"{flag} is for --search {other}, and this is {args.search}")
    for name in ("paper", "ngram", "neural_lm"):
        if args.search != "flashlight" and getattr(args, name):
            raise ValueError(f"--{name} is for --search flashlight")
    if args.ngram and args.neural_lm:
        raise ValueError("flashlight asks one model: --ngram or --neural_lm expected, got both")
    if args.paper and args.tuned:
        raise ValueError("--paper has weights of its own: no --tuned beside it")


def _tuned(args: argparse.Namespace) -> Tuned | None:
    from speechlm.decode.search_settings import Tuned

    if not args.tuned:
        return None
    tuned = Tuned.read(args.tuned)
    if tuned.search != args.search:
        raise ValueError(
            f"{args.tuned} was tuned with --search {tuned.search}, and this is {args.search}; "
            "tune again (tune_ctc)"
        )
    return tuned


def _warn_of_other_graph(args: argparse.Namespace, graph: dict[str, Any]) -> None:
    tuned = _tuned(args)
    if tuned and tuned.graph and tuned.graph != graph:
        logging.warning(
            "%s was tuned with a graph of %s (%s words), and %s is of %s (%s words): tune again",
            *(args.tuned, tuned.graph.get("lm"), tuned.graph.get("words")),
            *(args.graph, graph.get("lm"), graph.get("words")),
        )


def _weights(args: argparse.Namespace) -> Weights:
    """Given ones; else tuned ones, else the paper's."""
    from speechlm.decode.ctc_search import Weights

    tuned = _tuned(args)
    weights = tuned.weights if tuned else Weights()
    if args.paper:
        weights = _paper(args).weights
    return replace(weights, **{n: v for n in WEIGHTS if (v := getattr(args, n)) is not None})


def _width(args: argparse.Namespace) -> dict[str, float]:
    """The search's width, as its fields."""
    from speechlm.decode.flashlight_search import FlashlightOptions
    from speechlm.lm.search import Beam

    tuned = _tuned(args)
    options: Beam | FlashlightOptions
    if args.search == "graph":
        options = tuned.width(Beam) if tuned else Beam()
    else:
        options = tuned.width(FlashlightOptions) if tuned else FlashlightOptions()
    if args.paper:
        options = _paper(args).options
    given = {
        field: value
        for field, (flag, _, _) in WIDTHS[args.search].items()
        if (value := getattr(args, flag[2:])) is not None
    }
    return asdict(replace(options, **given))


def _paper(args: argparse.Namespace) -> Setting:
    from speechlm.decode.flashlight_search import PAPER, PAPER_TRANSFORMER

    return PAPER_TRANSFORMER if args.neural_lm else PAPER


def _open(args: argparse.Namespace, width: dict) -> Search:
    from speechlm.lm.ctc_graph import ARPA_COPY, LEXICON_COPY

    folder = Path(args.graph)
    if args.search == "graph":
        from speechlm.decode.ctc_search import CTCSearch
        from speechlm.lm.search import Beam

        return CTCSearch(folder, Beam(**width))
    from speechlm.decode.flashlight_search import FlashlightOptions, FlashlightSearch

    lm: Any = args.ngram or folder / ARPA_COPY
    if args.neural_lm:
        from speechlm.tasks.lm_scores import NeuralLM

        lm = NeuralLM.load(args.neural_lm, "cpu")
    return FlashlightSearch(folder / LEXICON_COPY, lm, FlashlightOptions(**width))
