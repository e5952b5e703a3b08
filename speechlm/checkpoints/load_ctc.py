"""CTC models, opened from the folder of a fine-tuning. Needs no ESPnet."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeVar

from speechlm.checkpoints.ctc_encoder import BEST, CTCModel
from speechlm.checkpoints.model_dir import WEIGHTS
from speechlm.checkpoints.trainer_files import load_weights_only
from speechlm.data.yaml_file import read_yaml

Model = TypeVar("Model", bound=CTCModel)


def load_model(
    folder: str | os.PathLike[str],
    weights: str | None = None,
    device: str = "cpu",
    kind: type[Model] = CTCModel,  # type: ignore[assignment]  # python/mypy#3737
) -> Model:
    """The model of a fine-tuning's or an imported fine-tuning's folder, in evaluation mode.

    Args:
        folder: of the fine-tuning.
        weights: file name in the folder; None: the first of `BEST` that is there. An imported
            fine-tuning has one file.
        device: where to put the model.
        kind: class of the model.

    Raises:
        ValueError: the folder holds no finished CTC fine-tuning of a SpeechLM.
    """
    path = Path(folder)
    config = read_yaml(path / "config.yaml", "; the folder of a finetune_asr is expected")
    if "kind" in config:  # a model folder; that of a fine-tuning is ESPnet's and has no such entry
        if config["kind"] != "ctc":
            raise ValueError(
                f"{path} holds a model of kind {config['kind']}, not ctc; fine-tune it first "
                "(finetune_asr); its phones recognise data directories (decode_phones --speechlm)"
            )
        if weights not in (None, WEIGHTS):
            raise ValueError(f"{path} has one file of weights, {WEIGHTS}, got {weights}")
        return kind.of_folder(path).eval().to(device)
    if config.get("encoder") != "speechlm":
        raise ValueError(
            f"{path / 'config.yaml'}: encoder speechlm expected, found {config.get('encoder')}"
        )
    names = (weights,) if weights else BEST
    found = next((path / name for name in names if os.path.lexists(path / name)), None)
    if found is None:
        raise ValueError(f"{path}: no {' or '.join(names)}; is the training finished?")
    conf = config.get("encoder_conf")
    if not isinstance(conf, dict) or not isinstance(conf.get("speechlm"), dict):
        raise ValueError(f"{path / 'config.yaml'}: values expected in encoder_conf.speechlm")
    model = kind(conf["speechlm"])
    model.load_espnet(load_weights_only(found), str(found))
    return model.eval().to(device)
