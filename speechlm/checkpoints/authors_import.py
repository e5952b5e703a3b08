"""Reading checkpoints of the authors' release into model folders.

Pre-trained (full or cleaned), fine-tuned with CTC, fine-tuned for translation. What each holds:

    full         {args, cfg, model, criterion, optimizer_history, task_state, extra_state, ...};
                 task_state has the pickled fairseq dictionaries
    cleaned      {cfg: {model, task}, model} without unit embeddings and CTC head
    CTC          model: `w2v_encoder.w2v_model.*` is the SpeechLM, `w2v_encoder.proj.*` its CTC head
                 once more; cfg.model.w2v_args is the pre-training's cfg
    translation  model: `encoder.w2v_model.*` is the SpeechLM, `decoder.*` the decoder; no
                 dictionaries

Sources: microsoft/SpeechT5, folder SpeechLM (SpeechLM.py, models/speechlm_ctcasr.py and
speechlm_st.py, config/pretrain/speechlmp_base_cfg.pt); fairseq's Trainer.state_dict.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from speechlm.checkpoints.authors_config import to_config, to_decoder_config
from speechlm.checkpoints.authors_export import METADATA, NOT_CLEANED, pack
from speechlm.checkpoints.inert_pickle import Mapping as OrderedMapping
from speechlm.checkpoints.inert_pickle import Record, plain
from speechlm.checkpoints.model_dir import (
    CHARACTERS,
    CONFIG,
    DECODER,
    TARGETS,
    TOKENS,
    WEIGHTS,
    Description,
    outline,
    save_model,
)
from speechlm.checkpoints.torch_file import StoredTensor, TorchFile
from speechlm.checkpoints.weight_checks import check_names, check_numbers, check_table
from speechlm.conventions import SPECIALS
from speechlm.data.atomic import output_dir
from speechlm.data.fairseq_format import read_dictionary
from speechlm.data.vocabulary import MASK, PHONES, CharacterVocabulary, UnitVocabulary
from speechlm.models.heads import PARTS

ENCODER = {"pretrained": "", "ctc": "w2v_encoder.w2v_model.", "translation": "encoder.w2v_model."}
"""How the names of the SpeechLM's weights begin, by kind of checkpoint."""
_TEXT_TO_UNIT = "encoder.encoder_fft_layers."
_CTC_COPY, _CTC_HEAD = "w2v_encoder.proj.", "unit_encoder_ctc_head."
_TIED = ("unit_embed_tokens.weight", "unit_encoder.embed_tokens.weight")
_TRAINING = ("optimizer_history", "task_state", "extra_state", "criterion")


def import_checkpoint(
    path: str | os.PathLike[str],
    output: str | os.PathLike[str],
    unit_dictionary: str | os.PathLike[str] | None = None,
    target_dictionary: str | os.PathLike[str] | None = None,
) -> Description:
    """Turn an authors' checkpoint into a model folder.

    Args:
        path: the checkpoint; nothing in it is run.
        output: the folder, see `model_dir`.
        unit_dictionary: fairseq dictionary of the units, for fine-tuned checkpoints, which have
            none; default: the 364 phones if there are so many units, else numbers.
        target_dictionary: fairseq dictionary of the target language, which translation
            checkpoints lack; default: its symbols stay unknown.

    Raises:
        ValueError: the file is damaged, hostile, no SpeechLM, or its parts do not belong
            together; the message names classes, keys or weights. Or the folder has other files.
    """
    check_output(Path(output), {CONFIG, WEIGHTS, TOKENS, CHARACTERS, TARGETS})
    checkpoint = _read(path)
    source, cfg, weights = checkpoint.source, checkpoint.cfg, checkpoint.weights
    pretraining = _pretraining(cfg, source)
    description = Description(
        to_config(*pretraining, source),
        checkpoint.kind,
        _units(weights, checkpoint.dictionaries, unit_dictionary, source),
        _characters(weights, checkpoint.dictionaries, source),
    )
    if checkpoint.kind == "translation":
        sizes = cfg["model"] if isinstance(cfg.get("model"), dict) else cfg
        description.decoder = to_decoder_config(sizes, source)
        description.targets = _targets(checkpoint.decoder, target_dictionary, source)
    elif target_dictionary is not None:
        raise ValueError(f"{source} is no translation model; --target_dictionary is not for it")
    _check_fit(description, weights, checkpoint.decoder, source)
    metadata = {
        "order": [name for name in weights if not name.startswith(NOT_CLEANED)],
        "ordered": checkpoint.ordered,
        "top": _cleaned_top(checkpoint.top, pretraining, description, source),
    }
    weights.pop(_TIED[1], None)
    with output_dir(output, (TOKENS, CHARACTERS, TARGETS)) as folder:
        save_model(
            folder,
            description,
            {**weights, **checkpoint.decoder},
            {METADATA: pack(metadata)},
            imported_from=Path(path).name,
        )
    return description


@dataclasses.dataclass
class _Checkpoint:
    """What is needed of a checkpoint's content."""

    source: str
    kind: str
    cfg: Any
    """Plain values."""
    dictionaries: dict[str, list[str]]
    """Symbols by id."""
    weights: dict[str, Tensor]
    """Of the SpeechLM, by our names, in their order."""
    decoder: dict[str, Tensor]
    """Of the translation decoder, names with `decoder.`."""
    ordered: bool
    """Whether the weights are in an OrderedDict, not a plain one."""
    top: dict[str, Any]
    """All entries, None for the weights."""


def _read(path: str | os.PathLike[str]) -> _Checkpoint:
    with TorchFile(path) as file:
        content, source = file.content, str(path)
        stored = stored_weights(content, source)
        if any(name.startswith(_TEXT_TO_UNIT) for name in stored):
            raise ValueError(
                f"{source} is a text-to-unit model (it has weights {_TEXT_TO_UNIT}*); "
                "a SpeechLM is expected here (import_text_to_unit takes the other)"
            )
        kind = _kind(stored)
        names, decoder = _split(stored, kind, file)
        return _Checkpoint(
            source,
            kind,
            plain(content.get("cfg") or content.get("args"), source),
            _dictionaries(content.get("task_state")),
            {ours: file.read(stored[name]) for ours, name in names.items()},
            {DECODER + ours: file.read(stored[name]) for ours, name in decoder.items()},
            isinstance(content["model"], OrderedMapping),
            {key: None if key == "model" else value for key, value in content.items()},
        )


def check_output(output: Path, ours: Collection[str]) -> None:
    """An earlier import is replaced, anything else is not.

    Args:
        output: folder that an import is to make.
        ours: names of the files of an import.

    Raises:
        ValueError: it is a file, or has files that no import has made.
    """
    if not output.exists():
        return
    if not output.is_dir():
        raise ValueError(f"{output} is a file; a folder for the model is expected")
    others = sorted(entry.name for entry in output.iterdir() if entry.name not in ours)
    config = output / CONFIG
    if config.is_file() and b"imported_from:" not in config.read_bytes():
        others.insert(0, CONFIG)
    if others:
        raise ValueError(f"{output} has other files ({', '.join(others[:3])}); choose a new folder")


def stored_weights(content: Any, source: str) -> dict[str, StoredTensor]:
    """The entry `model` of a checkpoint, after a look at the whole.

    Raises:
        ValueError: it is no checkpoint, or its weights are no tensors.
    """
    if not isinstance(content, dict):
        raise ValueError(f"{source} holds {type(content).__name__}, not a checkpoint's dictionary")
    keys = ", ".join(map(str, list(content)[:5]))
    if not isinstance(content.get("model"), dict) or not content["model"]:
        raise ValueError(f'{source} has no weights under "model"; its entries are: {keys}')
    if not (content.get("cfg") or content.get("args")):
        raise ValueError(f'{source} has no configuration under "cfg"; its entries are: {keys}')
    weights = content["model"]
    odd = [
        str(name)
        for name, weight in weights.items()
        if not (isinstance(name, str) and isinstance(weight, StoredTensor))
    ]
    if odd:
        raise ValueError(f"{source}: entries of model that are no tensors: {', '.join(odd[:5])}")
    return weights


def _kind(weights: Mapping[str, Any]) -> str:
    for kind in ("ctc", "translation"):
        if any(name.startswith(ENCODER[kind]) for name in weights):
            return kind
    return "pretrained"


def _split(
    stored: Mapping[str, StoredTensor], kind: str, file: TorchFile
) -> tuple[dict[str, str], dict[str, str]]:
    """Our names -> theirs, of the SpeechLM and of the translation decoder."""
    names: dict[str, str] = {}
    decoder: dict[str, str] = {}
    copies: dict[str, str] = {}
    for name in stored:
        if name.startswith(ENCODER[kind]):
            names[name.removeprefix(ENCODER[kind])] = name
        elif kind == "translation" and name.startswith(DECODER):
            decoder[name.removeprefix(DECODER)] = name
        elif kind == "ctc" and name.startswith(_CTC_COPY):
            copies[_CTC_HEAD + name.removeprefix(_CTC_COPY)] = name
        elif kind == "pretrained":
            names[name] = name
        else:
            names[f"{name} (outside of {ENCODER[kind]})"] = name
    if kind == "ctc":
        head = [name for name in names if name.startswith(_CTC_HEAD)]
        if not head and copies:
            raise ValueError(
                f"{file.source}: its output layer {', '.join(copies.values())} is not SpeechLM's "
                "CTC head (convolution, norm, projection), which this project needs"
            )
    pairs = [(names[n], copies[n]) for n in copies if n in names]
    names |= {n: name for n, name in copies.items() if n not in names}
    if all(name in names for name in _TIED):
        pairs.append((names[_TIED[0]], names[_TIED[1]]))
    for first, second in pairs:
        if not torch.equal(file.read(stored[first]), file.read(stored[second])):
            raise ValueError(f"{file.source}: {first} and {second} must be equal, but differ")
    return names, decoder


def _pretraining(cfg: Any, source: str) -> tuple[dict[str, Any], bool, dict[str, Any]]:
    """cfg.model, cfg.task.normalize and cfg.criterion of the pre-training."""
    if not isinstance(cfg, dict):
        raise ValueError(f"{source}: cfg is {str(cfg)[:60]}, not a configuration")
    model, task = cfg.get("model"), cfg.get("task")
    if not isinstance(model, dict):  # a Namespace with all options side by side
        model, task = cfg, cfg
    if "w2v_path" in model or "w2v_args" in model:
        if not model.get("w2v_args"):
            raise ValueError(f"{source}: a fine-tuned model needs cfg.model.w2v_args; it is empty")
        return _pretraining(model["w2v_args"], source)
    normalize = task.get("normalize") if isinstance(task, dict) else None
    if not isinstance(normalize, bool):
        raise ValueError(f"{source}: cfg.task.normalize is {normalize!r}; true or false expected")
    criterion = cfg.get("criterion")
    return model, normalize, criterion if isinstance(criterion, dict) else {}


def _cleaned_top(
    top: dict[str, Any],
    pretraining: tuple[dict[str, Any], bool, dict[str, Any]],
    description: Description,
    source: str,
) -> dict[str, Any]:
    """All entries of the cleaned checkpoint but the weights, in their order."""
    cleaned = description.kind == "pretrained" and description.without == list(PARTS)
    if cleaned and not any(key in top for key in _TRAINING):
        kept: dict[str, Any] = plain(top, source)
        return kept
    model, normalize, _ = pretraining
    return {"cfg": {"model": model, "task": {"normalize": normalize}}, "model": None}


def _dictionaries(task_state: Any) -> dict[str, list[str]]:
    """Symbols by id of the fairseq dictionaries in task_state."""
    found: dict[str, list[str]] = {}
    for name, value in task_state.items() if isinstance(task_state, dict) else ():
        for item in value if isinstance(value, list) else [value]:
            symbols = item.state.get("symbols") if isinstance(item, Record) else None
            if isinstance(symbols, list) and all(isinstance(s, str) for s in symbols):
                found.setdefault(str(name), symbols)
    return found


def _choose(
    dictionaries: Mapping[str, list[str]], names: Sequence[str], rows: int, what: str, source: str
) -> list[str] | None:
    """The first dictionary of these names that has an entry for every row."""
    given = {name: dictionaries[name] for name in names if name in dictionaries}
    fitting = [symbols for symbols in given.values() if len(symbols) == rows]
    if given and not fitting:
        sizes = ", ".join(f"{name} {len(symbols)}" for name, symbols in given.items())
        raise ValueError(f"{source}: {rows} rows of {what}, but its dictionaries have: {sizes}")
    return fitting[0] if fitting else None


def _units(
    weights: Mapping[str, Tensor],
    dictionaries: Mapping[str, list[str]],
    path: str | os.PathLike[str] | None,
    source: str,
) -> UnitVocabulary | None:
    """The units of the embedding's rows; None if there is no embedding."""
    if not any(name.startswith(PARTS["units"]) for name in weights):
        if path is not None:
            raise ValueError(f"{source} has no unit embeddings; --unit_dictionary is not for it")
        return None
    if _TIED[0] not in weights or weights[_TIED[0]].dim() != 2:
        raise ValueError(f"{source}: {_TIED[0]}, a table of unit embeddings, expected")
    rows = len(weights[_TIED[0]])
    extra = len(SPECIALS) + 1
    if path is not None:
        symbols = read_dictionary(path)
        if len(symbols) + extra != rows:
            raise ValueError(
                f"{path} has {len(symbols)} units, the model of {source} has {rows - extra}"
            )
        return UnitVocabulary(symbols, str(path))
    names = ("text_src_dictionary", "dictionaries")
    found = _choose(dictionaries, names, rows, "unit embeddings", source)
    if found is None:
        return UnitVocabulary(
            PHONES if rows == len(PHONES) + extra else map(str, range(rows - extra))
        )
    if tuple(found[:4]) != SPECIALS or found[-1] != MASK:
        raise ValueError(
            f"{source}: a unit dictionary from {' '.join(SPECIALS)} to {MASK} expected, found "
            f"{' '.join(found[:4])} .. {found[-1]}"
        )
    odd = [symbol for symbol in found if symbol.split() != [symbol]]
    if odd:
        raise ValueError(f"{source}: no names of units in its dictionary: {odd[:5]}")
    return UnitVocabulary(found[4:-1], f"the unit dictionary of {source}")


def _characters(
    weights: Mapping[str, Tensor], dictionaries: Mapping[str, list[str]], source: str
) -> Sequence[str] | None:
    """Symbols of the CTC head's rows; None if there is no head."""
    if not any(name.startswith(_CTC_HEAD) for name in weights):
        return None
    output = weights.get(_CTC_HEAD + "5.weight")
    if output is None or output.dim() != 2:
        raise ValueError(
            f"{source}: {_CTC_HEAD}5.weight, a table of the characters, expected, but "
            + ("it is missing" if output is None else f"its shape is {tuple(output.shape)}")
        )
    names = ("target_dictionary", "text_dictionary")
    found = _choose(dictionaries, names, len(output), "the CTC head", source)
    if found is None and len(output) == CharacterVocabulary.n_ids:
        return CharacterVocabulary.symbols
    if found is None:
        raise ValueError(f"{source}: no dictionary for the {len(output)} rows of its CTC head")
    odd = [s for s in found if not s or {*s} & {"\n", "\r"} or found.count(s) > 1]
    if odd:
        raise ValueError(f"{source}: no symbols of characters in its dictionary: {odd[:5]}")
    return found


def _targets(
    decoder: Mapping[str, Tensor], path: str | os.PathLike[str] | None, source: str
) -> Sequence[str] | None:
    """Symbols of the translation decoder's rows from a fairseq dictionary file."""
    table = check_table(decoder.get(f"{DECODER}embed_tokens.weight"), source)
    if path is None:
        return None
    symbols = [*SPECIALS, *read_dictionary(path)]
    if len(table) != len(symbols):
        raise ValueError(
            f"{path} gives {len(symbols)} symbols with {' '.join(SPECIALS)}; the decoder has "
            f"{len(table)} rows"
        )
    return symbols


def _check_fit(
    description: Description,
    weights: Mapping[str, Tensor],
    decoder: Mapping[str, Tensor],
    source: str,
) -> None:
    """Every weight of the configuration must be there, with its shape, and no other."""
    table = decoder.get(f"{DECODER}embed_tokens.weight")
    rows = None if table is None else len(table)
    own = outline(description, len(weights) + len(decoder), source, rows)
    prefixes = tuple(prefix for part in description.without for prefix in PARTS[part])
    own = {n: w for n, w in own.items() if not (prefixes and n.startswith(prefixes))}
    there = {**weights, **decoder}
    check_numbers(there, source)
    check_names(
        [name for name in own if name not in there],
        [name for name in there if name not in own],
        {name: (w.shape, own[name].shape) for name, w in there.items() if name in own},
        source,
    )
