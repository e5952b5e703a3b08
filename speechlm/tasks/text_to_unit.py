"""ESPnet task that trains the text-to-unit model of SpeechLM-H."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from espnet2.torch_utils.device_funcs import force_gatherable
from espnet2.train.abs_espnet_model import AbsESPnetModel
from espnet2.utils.nested_dict_action import NestedDictAction
from espnet2.utils.types import str2bool
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from speechlm.conventions import EOS, PAD
from speechlm.data.archives import read_unit_info
from speechlm.data.monophones import N_PHONES
from speechlm.models.text_to_unit import NO_UNIT, TextToUnit
from speechlm.models.unit_generator import TextToUnitConfig
from speechlm.tasks.common import OwnDataTask
from speechlm.tokenizers.aligned_units import NAMES

PADDING = {"phones": PAD, "durations": 0, "units": NO_UNIT}
END = {"phones": [EOS], "durations": [0], "units": []}
"""What each sequence gets at its end: the end of sentence lasts no unit."""


class TextToUnitTraining(AbsESPnetModel):
    """`TextToUnit` with ESPnet's calling convention.

    Args:
        model: the network.
        cpu_bfloat16: compute in bfloat16 autocast on the CPU (ESPnet's `use_amp` is CUDA's).
    """

    def __init__(self, model: TextToUnit, cpu_bfloat16: bool = False) -> None:
        super().__init__()
        self.text_to_unit, self.cpu_bfloat16 = model, cpu_bfloat16

    def forward(
        self, phones: Tensor, durations: Tensor, units: Tensor, **_: Any
    ) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        """Loss, statistics and weight (1,) each; tensors as in `TextToUnit.forward`."""
        autocast: contextlib.AbstractContextManager[Any] = contextlib.nullcontext()
        if self.cpu_bfloat16 and phones.device.type == "cpu":
            autocast = torch.autocast("cpu", torch.bfloat16)
        with autocast:
            loss, stats, weight = self.text_to_unit(phones, durations, units)
        return force_gatherable((loss, stats, weight), loss.device)

    def collect_feats(self, **batch: Tensor) -> dict[str, Tensor]:
        """Not used: there are no features."""
        raise NotImplementedError("text to unit reads phones; there is no statistics stage")


def collate(
    data: Sequence[tuple[str, dict[str, np.ndarray]]],
) -> tuple[list[str], dict[str, Tensor]]:
    """Utterances of `aligned_units` -> ids, and padded int64 tensors (B, longest) by name."""
    batch = {}
    for name in NAMES:
        rows = [np.append(arrays[name], END[name]).astype(np.int64) for _, arrays in data]
        batch[name] = pad_sequence(
            [torch.from_numpy(row) for row in rows], batch_first=True, padding_value=PADDING[name]
        )
    return [utterance for utterance, _ in data], batch


class TextToUnitTask(OwnDataTask):
    """Phones to hidden units, with durations of aligned speech."""

    names = NAMES

    @classmethod
    def add_task_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Options of the model; ESPnet's own defaults become the authors'."""
        group = parser.add_argument_group("Text to unit")
        group.add_argument(
            "--model_conf",
            action=NestedDictAction,
            default={},
            help="differences from the paper's model: fields of TextToUnitConfig",
        )
        group.add_argument(
            "--cpu_bfloat16", type=str2bool, default=False, help="bfloat16 autocast on the CPU"
        )
        group.add_argument(
            "--quick_start",
            type=str2bool,
            default=False,
            help="initial values for trainings of some hundred updates",
        )
        group.add_argument("--pairs", help="folder of make_unit_pairs")
        cls.add_common_arguments(parser)
        parser.set_defaults(
            optim="adam",
            optim_conf={"lr": 5e-4, "betas": [0.9, 0.999], "eps": 1e-8},
            scheduler="tristagelr",
            grad_clip=5.0,
            best_model_criterion=[("valid", "accuracy", "max")],
            keep_nbest_models=[1],
        )
        parser.set_defaults(required=["output_dir", "pairs"])

    @classmethod
    def build_collate_fn(cls, args: argparse.Namespace, train: bool) -> Callable:
        """Ends and padding."""
        return collate

    @classmethod
    def build_model(cls, args: argparse.Namespace) -> TextToUnitTraining:
        """The network for the units of the pairs.

        Raises:
            ValueError: an unknown field, with the nearest valid one.
        """
        if getattr(args, "unit_tokens", None) is None:  # kept in config.yaml from here on
            args.unit_tokens = list(read_unit_info(Path(args.pairs))[1].symbols)
        config = TextToUnitConfig.from_dict(args.model_conf)
        model = TextToUnit(config, N_PHONES, len(args.unit_tokens))
        if args.quick_start:
            set_start(model)
        return TextToUnitTraining(model, args.cpu_bfloat16)


def set_start(model: TextToUnit) -> None:
    """Initial values from which some hundred updates are enough to learn something.

    With the usual ones, which are the authors', a phone's embedding has 1/64 of the variance of its
    position (at D = 128), and each block mixes in branches as large as what it is given: at the
    output next to nothing is left of the phone. Here embeddings begin with variance 1, and branches
    a tenth as large.
    """
    network = model.encoder
    with torch.no_grad():
        network.embed_tokens.weight.mul_(network.config.embed_dim**0.5)
        for block in (*network.encoder_fft_layers, *network.decoder_fft_layers):
            block.ffn.ffn[2].weight.mul_(0.1)
            block.self_attn.out_proj.weight.mul_(0.1)
