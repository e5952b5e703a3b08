"""Reading the released text-to-unit checkpoint into a folder, and writing it back.

    checkpoint   {cfg: {model: options, ...} or args: options, model: weights, ...}, fairseq's
                 options as a Namespace or a dictionary, no dictionaries of phones and units

Source: microsoft/SpeechT5, folder SpeechLM (models/fasttext2unit.py, tasks/fast_text_to_unit.py,
dataset/LibriSpeech/fast_phone2unit). Its text is phones without stress, `<SIL>` at both ends and
behind every fourth word or so; equal phones that follow each other (LESS SEND) are one phone in its
training and two in its generation, and we generate with it as it does.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from speechlm.checkpoints.authors_export import (
    METADATA,
    check_no_folder,
    kept,
    pack,
    write_checkpoint,
)
from speechlm.checkpoints.authors_import import check_output, stored_weights
from speechlm.checkpoints.inert_pickle import Mapping as OrderedMapping
from speechlm.checkpoints.inert_pickle import plain
from speechlm.checkpoints.model_dir import CONFIG, WEIGHTS, read_weights
from speechlm.checkpoints.text_to_unit_dir import (
    PHONES,
    StoredTextToUnit,
    is_text_to_unit,
    save_text_to_unit,
)
from speechlm.checkpoints.torch_file import TorchFile
from speechlm.checkpoints.weight_checks import check_names, check_numbers
from speechlm.conventions import PAPER_FRAMING
from speechlm.data.atomic import output_dir
from speechlm.data.fairseq_format import read_dictionary
from speechlm.data.monophones import AUTHORS_PHONES
from speechlm.data.vocabulary import N_SPECIALS, UnitVocabulary
from speechlm.models.text_to_unit import SPECIAL_CLASSES, UNUSED_KEYS, TextToUnit
from speechlm.models.unit_generator import TextToUnitConfig

START = "encoder.encoder_fft_layers."
"""How weights begin that only a text-to-unit model has."""
_FILES = {CONFIG, WEIGHTS, PHONES, "tokens.txt", "frame_shift"}
_OPTIONS = {
    "embed_dim": "encoder_embed_dim",
    "heads": "encoder_attention_heads",
    "encoder_layers": "encoder_layers",
    "decoder_layers": "decoder_layers",
    "ffn_dim": "fft_hidden_dim",
    "ffn_kernel": "fft_kernel_size",
    "predictor_dim": "var_pred_hidden_dim",
    "dropout": "dropout",
    "attention_dropout": "attention_dropout",
    "predictor_dropout": "var_pred_dropout",
}
"""Their names of the values of TextToUnitConfig."""
_FIXED: dict[str, Any] = {
    "var_pred_kernel_size": 3,
    "add_postnet": False,
    "use_pitch": False,
    "use_energe": False,
    "speaker_to_id": None,
}
"""Options that the network here has no other value of."""


def holds_text_to_unit(path: str | os.PathLike[str]) -> bool:
    """Whether a checkpoint is one of a text-to-unit model.

    Raises:
        ValueError: it cannot be read.
    """
    with TorchFile(path) as file:
        weights = file.content.get("model") if isinstance(file.content, dict) else None
        return isinstance(weights, dict) and any(str(name).startswith(START) for name in weights)


def import_text_to_unit(
    path: str | os.PathLike[str],
    output: str | os.PathLike[str],
    unit_dictionary: str | os.PathLike[str] | None = None,
) -> StoredTextToUnit:
    """Turn an authors' text-to-unit checkpoint into a folder that generate_text_units reads.

    Args:
        path: the checkpoint; nothing in it is run.
        output: the folder, see `text_to_unit_dir`.
        unit_dictionary: fairseq dictionary of the units, which the checkpoint lacks; default:
            their numbers.

    Raises:
        ValueError: the file is damaged, hostile, or no such model; or the folder has other files.
    """
    check_output(Path(output), _FILES)
    with TorchFile(path) as file:
        content, source = file.content, str(path)
        weights = {n: file.read(w) for n, w in stored_weights(content, source).items()}
        ordered = isinstance(content["model"], OrderedMapping)
        options = plain(content.get("cfg") or content.get("args"), source)
    if isinstance(options.get("model"), dict):
        options = options["model"]
    check_numbers({n: w for n, w in weights.items() if not n.startswith(UNUSED_KEYS)}, source)
    model = _network(_config(options, source), weights, source)
    stored = StoredTextToUnit(
        model, AUTHORS_PHONES, _units(model.n_units, unit_dictionary, source), PAPER_FRAMING.seconds
    )
    unused = {name: w for name, w in weights.items() if name.startswith(UNUSED_KEYS)}
    metadata = {"order": list(weights), "ordered": ordered, "top": {"args": options, "model": None}}
    with output_dir(output) as folder:
        save_text_to_unit(
            folder, stored, unused, {METADATA: pack(metadata)}, imported_from=Path(path).name
        )
    return stored


def export_text_to_unit(folder: str | os.PathLike[str], path: str | os.PathLike[str]) -> int:
    """Write an imported text-to-unit model as {args: options, model: weights}, all as it was.

    Returns:
        The number of tensors.

    Raises:
        ValueError: the folder holds no text-to-unit model, or one that was trained here, which
            lacks weights that the authors' loader asks for.
    """
    check_no_folder(path)
    if not is_text_to_unit(folder):
        raise ValueError(f"{folder} holds no text-to-unit model")
    weights, metadata = read_weights(folder)
    if METADATA not in metadata:
        raise ValueError(
            f"{folder} was trained here: it lacks the parts for pitch and energy, which the "
            "authors' model has without using them; only imported models can be exported"
        )
    authors = kept(metadata[METADATA], Path(folder) / WEIGHTS)
    return write_checkpoint(path, weights, authors, str(folder))


def _config(options: Any, source: str) -> TextToUnitConfig:
    """Their options as ours."""
    missing = [name for name in _OPTIONS.values() if name not in options]
    if missing:
        raise ValueError(f"{source}: its options lack {', '.join(missing)}")
    same = {"decoder_embed_dim": "encoder_embed_dim"}
    same["decoder_attention_heads"] = "encoder_attention_heads"
    expected = _FIXED | {name: options[other] for name, other in same.items()}
    odd = [
        f"{name} {json.dumps(options[name])} (expected {json.dumps(value)})"
        for name, value in expected.items()
        if options.get(name, value) != value
    ]
    if odd:
        raise ValueError(f"{source}: options that this network has not: {', '.join(odd)}")
    try:
        return TextToUnitConfig.from_dict({o: options[theirs] for o, theirs in _OPTIONS.items()})
    except (ValueError, TypeError) as error:
        raise ValueError(f"{source}: no network has its options: {error}") from None


def _network(config: TextToUnitConfig, weights: Mapping[str, Tensor], source: str) -> TextToUnit:
    """The model with the weights, after a look at their names and shapes."""
    shapes = {name: tuple(weight.shape) for name, weight in weights.items()}
    rows = (shapes.get("encoder.embed_tokens.weight"), shapes.get("encoder.out_proj.weight"))
    if not all(shape and len(shape) == 2 for shape in rows):
        raise ValueError(f"{source}: tables of phones and of units expected, found {rows}")
    n_phones, n_classes = rows[0][0], rows[1][0]  # type: ignore[index]  # both have been seen
    if n_phones != N_SPECIALS + len(AUTHORS_PHONES) or n_classes <= SPECIAL_CLASSES:
        raise ValueError(
            f"{source}: {N_SPECIALS + len(AUTHORS_PHONES)} phones with the special ones and more "
            f"than {SPECIAL_CLASSES} classes expected, found {n_phones} and {n_classes}"
        )
    if config.encoder_layers + config.decoder_layers > len(weights):
        raise ValueError(f"{source}: its options have more layers than it has weights")
    with torch.device("meta"):  # before memory is taken for wrong sizes
        own = TextToUnit(config, n_phones, n_classes - SPECIAL_CLASSES).state_dict()
    used = {name: w for name, w in weights.items() if not name.startswith(UNUSED_KEYS)}
    check_names(
        [name for name in own if name not in used],
        [name for name in used if name not in own],
        {name: (w.shape, own[name].shape) for name, w in used.items() if name in own},
        source,
    )
    model = TextToUnit(config, n_phones, n_classes - SPECIAL_CLASSES)
    model.load_state_dict(used)
    return model.eval()


def _units(n_units: int, dictionary: str | os.PathLike[str] | None, source: str) -> UnitVocabulary:
    if dictionary is None:
        return UnitVocabulary(map(str, range(n_units)))
    symbols = read_dictionary(dictionary)
    if len(symbols) != n_units:
        raise ValueError(f"{dictionary} has {len(symbols)} units, the model of {source} {n_units}")
    return UnitVocabulary(symbols, str(dictionary))
