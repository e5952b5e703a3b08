#!/usr/bin/env python3
"""Phone recognition of SUPERB by s3prl's own engine, beside what egs/superb gave on the same data.

s3prl 0.4.18 reads the corpus, trains heads on its own features of the same upstream, and scores the
test set: a head a seed, with the rate, steps and batches of ours. doc/superb.md says how s3prl is
installed for this, and what came out.
"""

from __future__ import annotations

import functools
import importlib
import json
import logging
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from speechlm.bin._cli import parser, run
from speechlm.data.atomic import output_dir
from speechlm.data.librispeech_sets import PARTS, read_librispeech_sets
from speechlm.superb.config import Training, read_training
from speechlm.superb.metrics import error_rate, value
from speechlm.superb.results import Result, read_result
from speechlm.superb.upstream import ACOUSTIC, Description
from speechlm.tokenizers.covering_lexicon import cover

LEXICON, SPEAKERS, RESULT = "lexicon.txt", "SPEAKERS.TXT", "result.json"


def import_problem() -> Any:
    """s3prl's module of phone recognition, with stand-ins for what has gone since its release.

    None of them is called: audio is read by librosa, and effects are for speaker verification.

    Raises:
        ValueError: s3prl, or something that it needs, is not installed.
    """
    try:
        import torchaudio

        torchaudio.set_audio_backend = lambda name: None
        effects: Any = types.ModuleType("torchaudio.sox_effects")
        effects.apply_effects_tensor = effects.apply_effects_file = None
        sys.modules[effects.__name__] = effects
        # An upstream of s3prl imports ESPnet if it is there, for half a minute.
        sys.modules["espnet2"] = None  # type: ignore[assignment]
        # s3prl/problem/__init__.py imports all problems, some of which need further packages.
        package = types.ModuleType("s3prl.problem")
        package.__path__ = [str(Path(importlib.import_module("s3prl").__path__[0]) / "problem")]
        sys.modules[package.__name__] = package
        return importlib.import_module("s3prl.problem.asr.superb_pr")
    except ImportError as error:
        raise ValueError(
            f"s3prl 0.4.18 with all that it needs expected on PYTHONPATH ({error}); doc/superb.md "
            "says how it is installed"
        ) from None


def remembering(problem: type[Any]) -> type[Any]:
    """A problem of s3prl whose frozen upstream sees each batch once, also over several trainings.

    Its batches are N neighbours in the order of lengths, so that there are few different ones.
    """
    seen: dict[tuple[Any, ...], Any] = {}

    class Remembering(problem):
        def build_upstream(self, build_upstream: dict[str, Any]) -> Any:
            upstream = super().build_upstream(build_upstream)
            name, forward = tuple(build_upstream.values()), upstream.forward

            def remembered(wavs: Any, lengths: Any) -> Any:
                key = (name, tuple(lengths.tolist()), hash(wavs.numpy().tobytes()))
                if key not in seen:
                    seen[key] = forward(wavs, lengths)
                return seen[key]

            upstream.forward = remembered
            return upstream

    return Remembering


def make_corpus(corpus: Path, folder: Path) -> None:
    """What s3prl reads: audio and words, a table of speakers, a pronunciation of each word."""
    data, _ = read_librispeech_sets(corpus)
    folder.mkdir()
    for part in PARTS.values():
        (folder / part).symlink_to((corpus / part).resolve())
    # The sex of a speaker is asked for and not used.
    rows = [f"{speaker}|F|||\n" for speaker in sorted({*data.data.utt2spk.values()})]
    table = "".join(["ID|SEX|SUBSET|MINUTES|NAME\n", *rows])
    (folder / SPEAKERS).write_text(table, encoding="utf-8")
    words = sorted({word for label in data.labels.values() for word in label.split()})
    entries = cover(words).lexicon.entries
    spoken = [f"{word} {' '.join(entries[word][0])}\n" for word in words]
    (folder / LEXICON).write_text("".join(spoken), encoding="utf-8")


def configuration(
    problem: Any, corpus: Path, folder: Path, upstream: Description, training: Training, seed: int
) -> dict[str, Any]:
    """s3prl's own values of the problem, with corpus, upstream, sizes and seed put in."""
    values: dict[str, Any] = problem.default_config()
    name = {"name": upstream.kind}
    if upstream.kind not in ACOUSTIC:
        name["path_or_url"] = str(Path(upstream.model).resolve())
    values |= {"target_dir": str(folder), "cache_dir": str(folder / "cache"), "device": "cpu"}
    values |= {"num_workers": 0, "build_upstream": name}
    values["prepare_data"] |= {"dataset_root": str(corpus), "n_jobs": 1}
    values["build_batch_sampler"]["train"] |= {"batch_size": training.batch, "seed": seed}
    values["build_downstream"]["hidden_size"] = training.hidden
    values["build_optimizer"]["conf"]["lr"] = training.rates[0]
    values["train"] |= {
        "total_steps": training.steps,
        "eval_step": training.evaluate,
        "save_step": training.steps,
        "log_step": training.evaluate,
        "gradient_accumulate": training.accumulate,
        "auto_resume": False,
        "seed": seed,
    }
    return values


def tested(folder: Path) -> float:
    """PER (%) of the test set as s3prl counts it.

    Raises:
        ValueError: by our metric its hypotheses have another.
    """
    import yaml

    (place,) = (folder / "evaluate").rglob("result.yaml")
    theirs = 100.0 * yaml.safe_load(place.read_text(encoding="utf-8"))["per"]
    hypotheses, references = (_lines(place.with_name(name)) for name in ("hyp", "ref"))
    ours = value(error_rate([(phones, hypotheses[u]) for u, phones in references.items()]))
    if abs(ours - theirs) > 1e-6:
        raise ValueError(f"{place}: PER of s3prl {theirs:.6f}, of ours {ours:.6f}; equal expected")
    return theirs


def _lines(path: Path) -> dict[str, list[str]]:
    rows = (line.split() for line in path.read_text(encoding="utf-8").splitlines())
    return {row[0]: row[1:] for row in rows}


def compared(theirs: list[float], ours: Result) -> dict[str, Any]:
    """PER of both by seed, and the difference of the means with Welch's interval of 95 %."""
    own = [value(scores) for scores in ours.scores["PER"]]
    found = stats.ttest_ind(own, theirs, equal_var=False).confidence_interval()
    return {
        "model": ours.model,
        "seeds": ours.seeds,
        "ours": own,
        "s3prl": theirs,
        "difference": float(np.mean(own) - np.mean(theirs)),
        "interval": [float(found.low), float(found.high)],
    }


def row(report: dict[str, Any]) -> str:
    """A line of a table in Markdown."""
    cells = [
        f"{np.mean(report[who]):.2f} ± {np.std(report[who], ddof=1):.2f}"
        for who in ("ours", "s3prl")
    ]
    low, high = report["interval"]
    cells.append(f"{report['difference']:+.2f} ({low:+.2f} to {high:+.2f})")
    return f"| {report['model']} | {' | '.join(cells)} |"


def main() -> None:
    """Train and test a head a model and seed, compare, report."""
    options = parser(__doc__)
    options.add_argument("--corpus", required=True, help="LibriSpeech, or one in its layout")
    options.add_argument(
        "--heads", required=True, nargs="+", help="folders of superb_judge --task pr"
    )
    options.add_argument("--config", help="YAML file that superb_judge had, with a single rate")
    options.add_argument("--output", required=True, help="folder to make")
    args = options.parse_args()
    training, results = read_training("pr", args.config), [read_result(f) for f in args.heads]
    for ours in results:
        if ours.task != "pr" or [*ours.rates] != [*training.rates] or len(ours.seeds) < 2:
            raise ValueError(
                f"--heads: heads of pr with the single rate of {args.config} and two seeds or "
                f"more expected; those of {ours.model} are of {ours.task}, rates {[*ours.rates]}, "
                f"{len(ours.seeds)} seeds"
            )
    module = import_problem()
    problem = remembering(module.SuperbPR)
    with output_dir(args.output) as folder:
        corpus = folder / "corpus"
        make_corpus(Path(args.corpus), corpus)
        module.G2P = functools.partial(module.G2P, [str(corpus / LEXICON)])
        for ours in results:
            found = []
            for seed in ours.seeds:
                engine, place = problem(), folder / ours.model / str(seed)
                values = configuration(engine, corpus, place, ours.description, training, seed)
                engine.run(**values)
                found.append(tested(place))
                logging.info("%s, seed %d: PER %.2f", ours.model, seed, found[-1])
            report = compared(found, ours)
            text = json.dumps(report, indent=1) + "\n"
            (folder / ours.model / RESULT).write_text(text, encoding="utf-8")
            print(row(report), flush=True)


if __name__ == "__main__":
    run(main)
