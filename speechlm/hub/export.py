"""Writing a trained SpeechLM as a model of transformers, with tokenizer and card."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Sequence
from pathlib import Path

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor
from transformers import Wav2Vec2FeatureExtractor, Wav2Vec2Processor

from speechlm.checkpoints.fine_tuned import FineTuning
from speechlm.checkpoints.folder_contents import contents
from speechlm.checkpoints.hub_folder import (
    CLASSES,
    HUB_CHARACTERS,
    HUB_CONFIG,
    HUB_UNITS,
    HUB_WEIGHTS,
    MODEL_TYPE,
    PREFIX,
)
from speechlm.checkpoints.load_ctc import check_ctc
from speechlm.checkpoints.model_dir import (
    Description,
    check_characters,
    read_description,
    read_weights,
)
from speechlm.checkpoints.pretrained import open_network
from speechlm.checkpoints.weight_checks import check_numbers
from speechlm.conventions import EOS, PAD, SAMPLE_RATE, UNK
from speechlm.data.atomic import library_writes, output_dir, write_text
from speechlm.data.vocabulary import CharacterVocabulary
from speechlm.data.whole_files import read_json
from speechlm.hub.card import Card, write_card
from speechlm.hub.configuration import SpeechLMConfig
from speechlm.hub.tokenizer import SpeechLMTokenizer

FILES = (HUB_CONFIG, HUB_WEIGHTS, "README.md", "preprocessor_config.json", "processor_config.json")
"""What an export may have written beside the tokenizer."""
SILENT = (PAD, EOS, UNK, CharacterVocabulary.mask)
"""Ids that stand for no character, beside the blank."""


@dataclasses.dataclass
class Trained:
    """A model that can be exported."""

    description: Description
    weights: dict[str, Tensor]
    """By the authors' names."""
    metadata: dict[str, str]
    """Strings beside the weights."""


def export_huggingface(
    folder: str | os.PathLike[str], output: str | os.PathLike[str], card: Card
) -> SpeechLMConfig:
    """Write a model folder or a CTC fine-tuning as a model of transformers.

    Args:
        folder: of a pre-training, of an imported checkpoint, or of a fine-tuning with CTC.
        output: the folder; an earlier export there is replaced.
        card: what the model card says of the model beside what is known of it.

    Returns:
        What config.json says.

    Raises:
        ValueError: the folder holds no finished training, or a model of another kind.
    """
    _check_output(Path(output))
    trained = read_trained(folder)
    description = trained.description
    config = hub_config(description)
    with output_dir(output, (HUB_UNITS, "tokens.origin", HUB_CHARACTERS)) as path:
        weights = {
            PREFIX + name: weight.detach().cpu().contiguous()
            for name, weight in trained.weights.items()
        }
        metadata = {**trained.metadata, "format": "pt"}
        with library_writes(path / HUB_WEIGHTS, SafetensorError):
            safetensors.torch.save_file(weights, path / HUB_WEIGHTS, metadata)
        if description.units is not None:
            description.units.write(path / HUB_UNITS)
        write_processor(path, description)
        write_card(path / "README.md", card, config)
        config.save_pretrained(path)
    return config


def read_trained(folder: str | os.PathLike[str]) -> Trained:
    """The model of a folder that `export_huggingface` takes.

    Raises:
        ValueError: as there.
    """
    tuned = FineTuning.find(folder)
    if tuned is not None:
        check_ctc(folder)
        network, _ = open_network(folder, {})
        symbols = CharacterVocabulary.symbols
        description = Description(network.config, "ctc", characters=symbols)
        return Trained(description, network.state_dict(), {})
    description = read_description(folder)
    if description.kind not in CLASSES.values():
        raise ValueError(
            f"{folder} holds a model of kind {description.kind}; one of "
            f"{', '.join(CLASSES.values())} is expected, as transformers has no such decoder"
        )
    if description.kind == "ctc":
        check_characters(folder)
    weights, metadata = read_weights(folder)
    check_numbers(weights, str(Path(folder) / HUB_WEIGHTS))
    return Trained(description, weights, metadata)


def hub_config(description: Description) -> SpeechLMConfig:
    """The configuration of a model that a folder describes."""
    symbols: Sequence[str] = description.characters or CharacterVocabulary.symbols
    config = SpeechLMConfig(
        description.config.to_dict(),
        vocab_size=len(symbols),
        silent_ids=SILENT if tuple(symbols) == CharacterVocabulary.symbols else (),
        dtype="float32",
    )
    config.architectures = [name for name, kind in CLASSES.items() if kind == description.kind]
    return config


def write_processor(folder: Path, description: Description) -> None:
    """The stock feature extractor of wav2vec 2.0 and, for models that write text, a tokenizer.

    The blank is the tokenizer's padding, as transformers has it.
    """
    extractor = Wav2Vec2FeatureExtractor(
        sampling_rate=SAMPLE_RATE,
        do_normalize=description.config.normalize_waveform,
        return_attention_mask=True,
    )
    extractor.save_pretrained(folder)
    if description.characters is None:
        return
    ids = {symbol: id_ for id_, symbol in enumerate(description.characters)}
    write_text(folder / HUB_CHARACTERS, json.dumps(ids, ensure_ascii=False))
    tokenizer = SpeechLMTokenizer(
        str(folder / HUB_CHARACTERS),
        pad_token="<s>",
        unk_token="<unk>",
        bos_token=None,
        eos_token="</s>",
        word_delimiter_token="|",
    )
    Wav2Vec2Processor(extractor, tokenizer).save_pretrained(folder)


def _check_output(output: Path) -> None:
    """ValueError if a folder is there that is no earlier export."""
    if not output.is_dir() or not any(output.iterdir()):
        return
    path = output / HUB_CONFIG
    # Another model of transformers has files of the same names, which would be lost.
    found = read_json(path, "configuration").get("model_type") if path.is_file() else None
    if found != MODEL_TYPE:
        what = f"a model of type {found}" if found else contents(output)
        raise ValueError(
            f"{output} holds something else than an export ({what}); choose a new folder"
        )
