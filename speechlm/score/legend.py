"""What the rows of the recipes' tables of recognition are, in a line each."""

from __future__ import annotations

from collections.abc import Iterable

from speechlm.score.markdown import escape

_DECODERS = {
    "greedy": "the fine-tuned network alone, the best character of each output",
    "ngram": "a search through words with an n-gram",
    "large": "the n-gram's n-best lists in the order of a larger n-gram",
    "transformer": "the n-gram's n-best lists in the order of a Transformer of words, or a search "
    "with it (`--search flashlight`)",
    "paper": "flashlight's search as in the paper, nothing tuned",
    "phones": "the pre-trained model, not fine-tuned, in place of the phone recogniser's network",
}
"""By the names that the recipes give them."""


def legend(decoders: Iterable[str], baseline: str) -> list[str]:
    """A line of Markdown for each decoder that is known, and one for the baseline if there is one.

    Args:
        decoders: names in the table.
        baseline: name of a system: the recogniser without SpeechLM; may be empty.
    """
    lines = [
        f"- {name}: {_DECODERS[name]}" for name in dict.fromkeys(decoders) if name in _DECODERS
    ]
    if baseline:
        lines.append(
            f"- {escape(baseline)}: the phone recogniser that gives the phone units, of the same "
            "transcripts and with the same n-gram; what there is without SpeechLM"
        )
    return lines
