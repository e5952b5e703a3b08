"""ESPnet task that trains the phone recogniser's frame classifier."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import torch
from espnet2.torch_utils.device_funcs import force_gatherable
from espnet2.train.abs_espnet_model import AbsESPnetModel
from espnet2.train.collate_fn import CommonCollateFn
from espnet2.utils.nested_dict_action import NestedDictAction
from torch import Tensor
from torch.nn import functional

from speechlm.recognizer.network_data import NAMES
from speechlm.recognizer.phone_acoustic import PhoneAcousticConfig, PhoneAcousticModel
from speechlm.tasks.common import OwnDataTask, check_keys

IGNORED = -1
MODEL_OPTIONS = ("state_weight", "time_masks", "max_mask", "noise", "bfloat16")


class PhoneModel(AbsESPnetModel):
    """Cross entropy of context classes (30 ms) and HMM states (10 ms).

    In training the frames start at a random phase of the 30 ms step, and stretches of frames are
    masked (SpecAugment's time masks; the features are no spectrum, so none in frequency).
    `bfloat16` runs the network's products in that type (1.6 times as fast on CPUs that have it).
    """

    def __init__(
        self,
        network: PhoneAcousticModel,
        state_weight: float = 0.5,
        time_masks: int = 2,
        max_mask: int = 20,
        noise: float = 0.1,
        bfloat16: bool = False,
    ) -> None:
        super().__init__()
        self.network = network
        self.state_weight = state_weight
        self.time_masks = time_masks
        self.max_mask = max_mask
        self.noise = noise
        self.bfloat16 = bfloat16

    def _augment(self, feats: Tensor) -> Tensor:
        """(B, T, D) with noise, and per 500 frames `time_masks` stretches set to zero."""
        feats = feats + self.noise * torch.randn_like(feats)
        batch, frames, _ = feats.shape
        count = max(1, round(self.time_masks * frames / 500)) if self.time_masks else 0
        starts = torch.rand(batch, count) * frames
        lengths = torch.rand(batch, count) * self.max_mask
        time = torch.arange(frames)[None, None]
        inside = (time >= starts[..., None]) & (time < (starts + lengths)[..., None])
        return feats.masked_fill(inside.any(1)[..., None].to(feats.device), 0.0)

    def forward(
        self,
        feats: Tensor,
        feats_lengths: Tensor,
        classes: Tensor,
        classes_lengths: Tensor,
        states: Tensor,
        states_lengths: Tensor,
        **_: Any,
    ) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        """Loss, statistics and weight of (B, T, D) features with (B, T) targets (-1: padding)."""
        step = self.network.config.subsampling
        if self.training:
            phase = int(torch.randint(step, (1,)))
            feats, classes, states = feats[:, phase:], classes[:, phase:], states[:, phase:]
            feats = self._augment(feats)
        padding = states == IGNORED
        with torch.autocast(feats.device.type, dtype=torch.bfloat16, enabled=self.bfloat16):
            scores = self.network(feats.masked_fill(padding[..., None], 0.0))
        class_scores, state_scores = (x.float() for x in scores)
        targets = functional.pad(classes, (0, step), value=IGNORED)[:, step // 2 :: step]
        targets = targets[:, : class_scores.shape[1]]
        class_loss = functional.cross_entropy(
            class_scores.flatten(0, 1), targets.flatten(), ignore_index=IGNORED
        )
        state_scores = state_scores[:, : states.shape[1]]
        state_loss = functional.cross_entropy(
            state_scores.flatten(0, 1), states.flatten(), ignore_index=IGNORED
        )
        loss = class_loss + self.state_weight * state_loss
        stats = {
            "loss": loss.detach(),
            "class_loss": class_loss.detach(),
            "state_loss": state_loss.detach(),
            "class_accuracy": _accuracy(class_scores, targets),
            "state_accuracy": _accuracy(state_scores, states),
        }
        return force_gatherable((loss, stats, (~padding).sum()), loss.device)

    def collect_feats(self, feats: Tensor, feats_lengths: Tensor, **_: Any) -> dict[str, Tensor]:
        """The features as they are: they come normalised from disk."""
        return {"feats": feats, "feats_lengths": feats_lengths}


def _accuracy(scores: Tensor, targets: Tensor) -> Tensor:
    kept = targets != IGNORED
    return (scores.argmax(-1) == targets)[kept].float().mean()


class PhoneModelTask(OwnDataTask):
    """Frame classification on alignments."""

    names = NAMES

    @classmethod
    def add_task_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Sizes of the network, weights of the losses, augmentation."""
        group = parser.add_argument_group(description="Phone model")
        group.add_argument(
            "--network_conf",
            action=NestedDictAction,
            default={},
            help="fields of PhoneAcousticConfig: width, bottleneck, dilations, dropout, ...",
        )
        group.add_argument(
            "--model_conf",
            action=NestedDictAction,
            default={},
            help="state_weight, time_masks, max_mask, noise, bfloat16",
        )
        group.add_argument("--n_classes", type=int, default=0, help="context classes")
        group.add_argument("--n_states", type=int, default=0, help="HMM states")
        cls.add_common_arguments(parser)

    @classmethod
    def build_collate_fn(cls, args: argparse.Namespace, train: bool) -> Callable:
        """Pad features with 0 and targets with -1."""
        return CommonCollateFn(float_pad_value=0.0, int_pad_value=IGNORED)

    @classmethod
    def build_model(cls, args: argparse.Namespace) -> PhoneModel:
        """The network of the configuration.

        Raises:
            ValueError: an unknown field, with the nearest valid one.
        """
        check_keys(args.network_conf, [f.name for f in fields(PhoneAcousticConfig)], "network_conf")
        check_keys(args.model_conf, MODEL_OPTIONS, "model_conf")
        values = {"n_classes": args.n_classes, "n_states": args.n_states, **args.network_conf}
        if "dilations" in values:
            values["dilations"] = tuple(values["dilations"])
        config = PhoneAcousticConfig(**values)
        return PhoneModel(PhoneAcousticModel(config), **args.model_conf)
