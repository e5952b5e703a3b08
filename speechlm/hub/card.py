"""Model cards: what README.md of an exported model says."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import yaml

from speechlm import __version__
from speechlm.data.atomic import write_text
from speechlm.hub.configuration import SpeechLMConfig

CITATION = """\
@article{zhang2024speechlm,
  title   = {SpeechLM: Enhanced Speech Pre-Training With Unpaired Textual Data},
  author  = {Zhang, Ziqiang and Chen, Sanyuan and Zhou, Long and Wu, Yu and Ren, Shuo and Liu, Shujie and
             Yao, Zhuoyuan and Gong, Xun and Dai, Lirong and Li, Jinyu and Wei, Furu},
  journal = {IEEE/ACM Transactions on Audio, Speech, and Language Processing},
  year    = {2024},
  doi     = {10.1109/TASLP.2024.3379877}
}"""  # noqa: E501
"""The paper whose method it is."""
TASKS = {"SpeechLMModel": "feature-extraction", "SpeechLMForCTC": "automatic-speech-recognition"}
"""The hub's name of what a class does."""
USE = {
    "SpeechLMModel": """\
from transformers import AutoFeatureExtractor, AutoModel

extractor = AutoFeatureExtractor.from_pretrained(folder)
model = AutoModel.from_pretrained(folder).eval()
inputs = extractor(waveforms, sampling_rate=16000, padding=True, return_tensors="pt")
features = model(**inputs).last_hidden_state
layers = model(**inputs, output_hidden_states=True).hidden_states  # outputs of layers 1, 2, ...
""",
    "SpeechLMForCTC": """\
from transformers import pipeline

recognise = pipeline("automatic-speech-recognition", model=folder)
print(recognise(waveform)["text"])  # (samples,) at 16 kHz; with ffmpeg also the name of a file
print(recognise({"raw": waveform, "sampling_rate": 8000})["text"])  # other rates
print(recognise(waveform, return_timestamps="word")["chunks"])
""",
}
"""How models of a class are used."""
_PICTURE = re.compile(r"^ *!\[[^]]*\]\((?!https?:)[^)]*\) *\n?", re.MULTILINE)


@dataclasses.dataclass
class Card:
    """What whoever exports a model says of it."""

    data: str | None = None
    """Which data it was trained on."""
    results: str | None = None
    """Markdown of its results."""
    license: str | None = None
    """The hub's name of a licence, such as mit or cc-by-4.0."""
    languages: tuple[str, ...] = ()
    """ISO codes of the languages that it has heard."""


def write_card(path: Path, card: Card, config: SpeechLMConfig) -> None:
    """Write the model card of a model with a configuration."""
    (name,) = config.architectures or (None,)
    assert name in TASKS
    head = {
        "library_name": "transformers",
        "license": card.license or "unknown",
        "language": list(card.languages) or None,
        "pipeline_tag": TASKS[name],
        "tags": ["speech", "audio", "speechlm"],
    }
    head = {key: value for key, value in head.items() if value is not None}
    licence = card.license or "Not said by whoever exported the model: ask before you use it."
    sections = {
        "Use": _use(name),
        "Data": card.data or "Not said by whoever exported the model.",
        "Results": demoted(card.results) if card.results else "None are known.",
        "Licence": licence,
        "Citation": f"```bibtex\n{CITATION}\n```",
    }
    text = (
        f"---\n{yaml.safe_dump(head, sort_keys=False)}---\n\n# SpeechLM\n\n{_what(name, config)}\n"
    )
    text += "".join(f"\n## {title}\n\n{body}\n" for title, body in sections.items())
    write_text(path, text)


def _what(name: str, config: SpeechLMConfig) -> str:
    network = config.network
    framing = network.framing
    kind = {
        "SpeechLMModel": "A speech encoder, pre-trained on speech, and on text if its data says so",
        "SpeechLMForCTC": "A speech recogniser: an encoder fine-tuned with CTC on characters",
    }[name]
    which = "SpeechLM-Fast (log-mel features)" if network.is_fast else "the paper's (waveforms)"
    return (
        f"{kind} (arXiv 2209.15329).\n\n"
        f"- architecture: {which}; {config.num_hidden_layers} layers of {config.hidden_size}\n"
        f"- input: mono, 16 kHz; output: {framing.rate:g} frames a second\n"
        f"- made by: speechlm {__version__}"
    )


def _use(name: str) -> str:
    return (
        "With the packages transformers and speechlm; no code comes with the model.\n\n"
        f"```python\nimport speechlm.hub  # tells transformers what a SpeechLM is\n{USE[name]}```"
    )


def demoted(markdown: str) -> str:
    """Markdown as part of a card: headings below the card's own, without pictures beside it."""
    without = _PICTURE.sub("", markdown)
    lines, fenced = [], False
    for line in without.strip().splitlines():
        fenced ^= line.startswith("```")
        level = len(line) - len(line.lstrip("#"))
        if not fenced and 0 < level < 7 and line[level : level + 1] == " ":
            line = "#" * min(6, level + 2) + line[level:]
        lines.append(line)
    return "\n".join(lines)
