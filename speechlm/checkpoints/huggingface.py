"""HuBERT, WavLM and wav2vec 2.0 models in Hugging Face's format. Needs transformers, not ESPnet."""

from __future__ import annotations

import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from speechlm.checkpoints.hub_folder import is_hub_speechlm
from speechlm.checkpoints.torchaudio_cpu import import_torchaudio
from speechlm.conventions import PAPER_FRAMING, Framing
from speechlm.data.whole_files import DamagedFile, damage, read_json

TYPES = ("hubert", "wavlm", "wav2vec2")
UNUSED = ("masked_spec_embed",)
"""Weights that fine-tuned models may lack, and that features do not need."""
WEIGHTS = ("model.safetensors", "pytorch_model.bin")
"""Files of a model; in several parts it has an index of them."""
_HUB_NAME = re.compile(r"[A-Za-z0-9_][\w.-]*(?:/[A-Za-z0-9_][\w.-]*)?", re.ASCII)
_PATIENCE = 3.0  # seconds for the hub to answer at all


def load_huggingface(name: str) -> tuple[Any, bool]:
    """(model in evaluation mode, whether its waveforms are normalised) of a folder or hub name.

    Waveforms are normalised as preprocessor_config.json says; without it, in models whose front
    end has a layer norm after each convolution.

    Raises:
        ValueError: it is not there (offline: what is missing), or of a kind that does not fit.
    """
    here = _is_here(name)
    import_torchaudio()
    try:
        import transformers
    except ImportError:
        raise ValueError("Hugging Face models need the package transformers") from None
    _check_files(Path(name))
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    with _explained(name):
        config = transformers.AutoConfig.from_pretrained(
            name, trust_remote_code=False, local_files_only=here
        )
    _check_type(name, config)
    config.apply_spec_augment = False
    with _explained(name):
        model, found = transformers.AutoModel.from_pretrained(
            name,
            config=config,
            dtype="float32",
            trust_remote_code=False,
            output_loading_info=True,
            local_files_only=here,
        )
    absent = sorted(set(found["missing_keys"]) - set(UNUSED))
    if absent:  # transformers has filled them with random numbers
        raise ValueError(f"{name}: {len(absent)} weights are missing: {', '.join(absent[:5])}")
    return model.eval(), _normalizes(name, config, here)


def _is_here(name: str) -> bool:
    """Whether a model can be read without the network; says at once what cannot be read at all.

    Raises:
        ValueError: it is no folder and no name on the hub, or the hub does not answer.
    """
    path = Path(name)
    if path.is_dir():
        if not (path / "config.json").is_file():
            if (path / "config.yaml").is_file():
                raise ValueError(
                    f"{name} is a model folder of this project, not of Hugging Face's format; "
                    "give it as a SpeechLM (--features speechlm)"
                )
            raise ValueError(_what_is_missing(name, FileNotFoundError()))
        if is_hub_speechlm(path):
            raise ValueError(f"{name} holds a SpeechLM: give it as such (--features speechlm)")
        return True
    if path.exists():
        raise ValueError(f"{name} is a file; the folder of a model is expected")
    # `exp/model` is a folder that is not there where `exp` is one, and else maybe a hub's name
    if not _HUB_NAME.fullmatch(name) or ("/" in name and path.parent.is_dir()):
        raise ValueError(f"{name}: no such folder, and no name of the Hugging Face hub")
    from huggingface_hub import constants

    if _is_cached(name):
        return True
    if constants.HF_HUB_OFFLINE:
        raise ValueError(_what_is_missing(name, ConnectionError()))
    try:
        request = urllib.request.Request(constants.ENDPOINT, method="HEAD")
        urllib.request.urlopen(request, timeout=_PATIENCE).close()
    except urllib.error.HTTPError:
        pass  # it answers
    except OSError as error:
        raise ValueError(_what_is_missing(name, error)) from None
    return False


def _is_cached(name: str) -> bool:
    """Whether an earlier run has fetched a model's configuration and weights."""
    from huggingface_hub import try_to_load_from_cache

    def there(file: str) -> bool:
        return isinstance(try_to_load_from_cache(name, file), str)

    weights = [f"{stem}{end}" for stem in WEIGHTS for end in ("", ".index.json")]
    return there("config.json") and any(map(there, weights))


def _check_files(folder: Path) -> None:
    """Look at the files of a folder before transformers does, whose messages name none.

    Raises:
        ValueError: one is empty, cut off, or something else; it is named.
    """
    advice = "copy or download it again"
    for path in sorted(folder.glob("*config.json")):
        read_json(path, "configuration", advice)
    for pattern in ("model*.safetensors", "pytorch_model*.bin"):
        for path in sorted(folder.glob(pattern)):
            if wrong := damage(path):
                raise DamagedFile(f"{path} {wrong}; {advice}")


@contextmanager
def _explained(name: str) -> Iterator[None]:
    """Whatever transformers raises becomes a message on the folder or the name."""
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:  # cut files make it raise almost anything
        raise ValueError(_what_is_missing(name, error)) from None


def _check_type(name: str, config: Any) -> None:
    if config.model_type not in TYPES:
        raise ValueError(
            f"{name} is a model of type {config.model_type}; one of {', '.join(TYPES)} is expected"
        )

    convolutions = zip(config.conv_kernel, config.conv_stride, strict=True)
    framing, expected = Framing.of_convolutions(convolutions), PAPER_FRAMING
    if framing != expected:
        raise ValueError(
            f"{name}: frames of {expected.window} samples every {expected.shift} are expected of "
            f"its front end, but they are of {framing.window} every {framing.shift}"
        )


def _normalizes(name: str, config: Any, here: bool) -> bool:
    from transformers import FeatureExtractionMixin

    try:  # the values alone: the extractor itself needs a torchaudio that can be loaded
        values, _ = FeatureExtractionMixin.get_feature_extractor_dict(name, local_files_only=here)
    except (OSError, ValueError):
        return config.feat_extract_norm == "layer"
    return bool(values.get("do_normalize", True))


def _what_is_missing(name: str, error: Exception) -> str:
    folder = Path(name)
    if folder.is_dir():
        wanted = {
            "config.json": ("config.json",),
            "model.safetensors or pytorch_model.bin": ("model*.safetensors", "pytorch_model*.bin"),
        }
        absent = [
            what
            for what, patterns in wanted.items()
            if not any(path for pattern in patterns for path in folder.glob(pattern))
        ]
        damaged = f"its weights are cut off or damaged ({type(error).__name__}: {str(error)[:200]})"
        reason = f"it has no {' and no '.join(absent)}" if absent else " ".join(damaged.split())
        return f"{name} is no usable Hugging Face model: {reason}"
    return (
        f"{name}: no such folder, and it could not be fetched from the Hugging Face hub "
        f"({type(error).__name__}). Without network, download it elsewhere (hf download {name} "
        "--local-dir FOLDER: config.json, preprocessor_config.json, and model.safetensors or "
        "pytorch_model.bin) and give the folder"
    )
