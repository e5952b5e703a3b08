"""A whole training of a word language model: from a text and a lexicon to a folder."""

from __future__ import annotations

import json
import os
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from speechlm.data.atomic import write_text
from speechlm.lm.ngram import Perplexity
from speechlm.tasks.common import is_first_worker, parse_training
from speechlm.tasks.lm import WordLMTask
from speechlm.tasks.lm_scores import INFO, TOKENS, WEIGHTS, NeuralLM, perplexity
from speechlm.tasks.lm_words import Sentences, WordList
from speechlm.tasks.trainer import load_weights_only

REPORT = "RESULTS.md"


def train_lm(
    output: str | os.PathLike[str],
    config: str | None,
    text: Sequence[str | os.PathLike[str]],
    dev_text: str | os.PathLike[str],
    lexicon: str | os.PathLike[str],
    options: Mapping[str, Any],
    espnet: Sequence[str] = (),
) -> Path:
    """Train the model; an interrupted training goes on where it was.

    Args:
        output: experiment folder.
        config: YAML file.
        text: texts to train on, a sentence a line; those named `text` are Kaldi's, with ids.
        dev_text: text for validation, of the same kinds.
        lexicon: that of decoding: pronunciations, spellings, or a list of words.
        options: options of `WordLMTask` by name; None: not given.
        espnet: further command line options of ESPnet.

    Returns:
        The folder, with the weights, config.yaml, tokens.txt, info.json (hash of the tokens,
        perplexity of the validation's text) and RESULTS.md.

    Raises:
        ValueError: texts without sentences or of other words, unknown options, or words other than
            those that the training in the output folder began with.
    """
    folder, words = Path(output), WordList.of_lexicon(lexicon)
    tokens = folder / TOKENS
    given = {**options, "token_list": tokens, "dev_text": dev_text}
    texts = ["--text", *map(str, text)]
    args = parse_training(WordLMTask, output, config, given, [*texts, *espnet])
    for paths in (text, [dev_text]):
        Sentences(paths, words).check_known()
    if tokens.exists():
        WordList.read(tokens).check_same(words)
    else:
        folder.mkdir(parents=True, exist_ok=True)
        words.write(tokens)
    WordLMTask.main(args)
    if is_first_worker() and not args.dry_run:
        _finish(folder, args, words)
    return folder


def _finish(folder: Path, args: Namespace, words: WordList) -> None:
    """Say what was trained, and how well it predicts the validation's text."""
    model = WordLMTask.build_model(args)
    model.load_state_dict(load_weights_only(folder / WEIGHTS))
    lm = NeuralLM(model, words, "cuda" if args.ngpu else "cpu")
    found = perplexity(lm, [args.dev_text])
    info = {
        "words": len(words),
        "tokens_sha256": words.sha256,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "text": [str(path) for path in args.text],
        "dev_text": str(args.dev_text),
        "dev": found.as_dict(),
        "seed": args.seed,
        "espnet": args.version,
        "torch": str(torch.__version__),
    }
    write_text(folder / REPORT, _table(info, found))
    write_text(folder / INFO, json.dumps(info, indent=2) + "\n")


def _table(info: Mapping[str, Any], found: Perplexity) -> str:
    share = found.oov / max(1, found.words)
    return (
        "| word language model (Transformer) | |\n|---|---|\n"
        f"| perplexity of {info['dev_text']} | {found.perplexity:.1f} |\n"
        f"| the same, with unknown words as `<unk>` | {found.perplexity_with_oov:.1f} |\n"
        f"| sentences, words, unknown ones | {found.sentences}, {found.words}, {found.oov} "
        f"({100 * share:.1f} %) |\n"
        f"| words of the vocabulary | {info['words']} |\n"
        f"| parameters | {info['parameters'] / 1e6:.1f} M |\n"
    )
