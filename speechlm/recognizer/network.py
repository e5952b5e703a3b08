"""The trained frame classifier for use: scores divided by priors."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from speechlm.data.atomic import library_writes, output_dir, output_file
from speechlm.data.whole_files import read_json, reading
from speechlm.recognizer.model import AlignmentModel, Frames
from speechlm.recognizer.network_data import ClassTable
from speechlm.recognizer.phone_acoustic import PhoneAcousticConfig, PhoneAcousticModel

GAUSSIAN_SHARE = 0.5
"""Weight of the Gaussians' scores beside the network's when both align together."""


class Network:
    """Network and the meaning of its outputs. Features (T, 40) in, numpy log scores out."""

    def __init__(self, model: PhoneAcousticModel, classes: ClassTable) -> None:
        self.model = model.eval()
        self.classes = classes

    @torch.inference_mode()
    def class_scores(self, features: np.ndarray) -> np.ndarray:
        """(T, 40) -> (ceil(T / 3), n_classes): log posterior minus log prior, every 30 ms."""
        posteriors = self.model.classify(torch.tensor(features)[None])[0].numpy()
        return posteriors - self.classes.class_prior.astype(np.float32)

    @torch.inference_mode()
    def scores(self, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Class scores every 30 ms and state scores every 10 ms, in one pass."""
        classes, states = self.model(torch.tensor(features)[None])
        return (
            classes[0].log_softmax(-1).numpy() - self.classes.class_prior.astype(np.float32),
            states[0, : len(features)].log_softmax(-1).numpy()
            - self.classes.state_prior.astype(np.float32),
        )

    @torch.inference_mode()
    def state_scores(self, features: np.ndarray) -> np.ndarray:
        """(T, 40) -> (T, P): log posterior minus log prior, every 10 ms."""
        scores = self.model(torch.tensor(features)[None])[1][0, : len(features)]
        return scores.log_softmax(-1).numpy() - self.classes.state_prior.astype(np.float32)

    def save(self, folder: Path | str) -> None:
        """Write `network.json`, `network.safetensors`, `classes.npz`."""
        with output_dir(folder) as path:
            (path / "network.json").write_text(json.dumps(asdict(self.model.config), indent=1))
            weights = {k: v.contiguous() for k, v in self.model.state_dict().items()}
            with (
                library_writes(Path(folder) / "network.safetensors", SafetensorError),
                output_file(path / "network.safetensors") as file,
            ):
                save_file(weights, file)
            self.classes.save(path / "classes.npz")

    @staticmethod
    def load(folder: Path | str) -> Network:
        """Read what `save` wrote.

        Raises:
            ValueError: the folder holds no network, a damaged one, or one that does not fit its
                description.
        """
        folder = Path(folder)
        description, weights = folder / "network.json", folder / "network.safetensors"
        advice = "train_phone_model makes it"
        values = read_json(description, "description of a network", advice)
        with reading(description, "description of a network", advice):
            values["dilations"] = tuple(values["dilations"])
            config = PhoneAcousticConfig(**values)
        with reading(weights, "weights", advice):
            state = load_file(weights)
        with reading(description, "description of a network", advice):
            if wrong := _wrong_sizes(config, state):  # before memory is taken for them
                raise ValueError(f"weights do not fit it: {', '.join(wrong[:5])}")
            model = PhoneAcousticModel(config)
            model.load_state_dict(state)
        return Network(model, ClassTable.load(folder / "classes.npz"))


def _wrong_sizes(config: PhoneAcousticConfig, state: dict[str, torch.Tensor]) -> list[str]:
    """Names of weights that a network has and a file has not, or has of another shape, or alone."""
    if len(config.dilations) > len(state):
        return [f"{len(config.dilations)} dilations"]
    with torch.device("meta"):
        own = PhoneAcousticModel(config).state_dict()
    return sorted(
        name
        for name in own.keys() | state.keys()
        if name not in own or name not in state or own[name].shape != state[name].shape
    )


def joint_scores(model: AlignmentModel, frames: Frames, state_scores: np.ndarray) -> np.ndarray:
    """Scores (T, P) to align with, from the Gaussians' and the network's (`state_scores`).

    The Gaussians place the boundaries best, the network knows the phones best.
    """
    return GAUSSIAN_SHARE * model.scores(frames) + state_scores
