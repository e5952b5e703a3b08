"""CTC models, opened from the folder of a fine-tuning. Needs no ESPnet."""

from __future__ import annotations

import os
from typing import TypeVar

from speechlm.checkpoints.ctc_encoder import CTCModel
from speechlm.checkpoints.fine_tuned import FineTuning
from speechlm.checkpoints.model_dir import check_characters, read_description
from speechlm.checkpoints.pretrained import open_network

Model = TypeVar("Model", bound=CTCModel)


def load_model(
    folder: str | os.PathLike[str],
    weights: str | None = None,
    device: str = "cpu",
    model_class: type[Model] = CTCModel,  # type: ignore[assignment]  # python/mypy#3737
) -> Model:
    """The model of a fine-tuning's or an imported fine-tuning's folder, in evaluation mode.

    Padding does not change an utterance's result: the config's `ignore_padding` is switched on.

    Args:
        folder: of the fine-tuning.
        weights: file name in the folder; None: the best in validation. An imported fine-tuning has
            one file.
        device: where to put the model.
        model_class: class of the model.

    Raises:
        ValueError: the folder holds no finished CTC fine-tuning of a SpeechLM.
    """
    check_ctc(folder)
    network, _ = open_network(folder, {"ignore_padding": True}, weights=weights)
    return model_class(network).eval().to(device)


def check_ctc(folder: str | os.PathLike[str]) -> None:
    """Make sure that a folder holds a model fine-tuned with CTC, on the characters of this project.

    Raises:
        ValueError: it does not; what it holds is said.
    """
    if (tuned := FineTuning.find(folder)) is not None:
        kind, without = tuned.kind, []
    else:
        description = read_description(folder)
        kind, without = description.kind, description.without
    if kind != "ctc":
        advice = {
            "pretrained": "fine-tune it first (finetune_asr); its phones recognise data "
            "directories (decode_phones --speechlm)",
            "translation": "it does not transcribe, it translates: translate in Python and as a "
            "program, decode_st for data directories",
        }
        raise ValueError(f"{folder} holds a model of kind {kind}, not ctc; {advice[kind]}")
    if "characters" in without:
        raise ValueError(f"{folder} holds a model without CTC head; fine-tune it first")
    if tuned is None:
        check_characters(folder)
    else:
        tuned.check_characters()
