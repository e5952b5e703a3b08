"""Pre-training of SpeechLM as an ESPnet task: joint batches of speech and text (paper section III).

How gradients are normalised. The paper's loss is a sum over masked frames, and the authors divide
the gradient by the number N of masked frames of all workers and accumulated batches together. Here
the model returns (sum / N_w, N_w) at worker w, and ESPnet averages over the workers with these
weights: sum_w N_w (sum_w / N_w) / sum_w N_w, which is the authors' quotient. Accumulated batches
are weighted in the same way, in `speechlm/tasks/accumulation.py`.
"""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed
from espnet2.tasks.abs_task import IteratorOptions
from espnet2.torch_utils.device_funcs import force_gatherable
from espnet2.train.abs_espnet_model import AbsESPnetModel
from espnet2.train.distributed_utils import get_world_size
from espnet2.utils.nested_dict_action import NestedDictAction
from espnet2.utils.types import float_or_none, int_or_none, str2bool, str_or_none

from speechlm.data.archives import read_unit_info
from speechlm.data.lexicon import Lexicon
from speechlm.data.vocabulary import PHONES, CharacterVocabulary, UnitVocabulary
from speechlm.models import SpeechLM, SpeechLMConfig
from speechlm.models.inputs import to_device
from speechlm.tasks.common import OwnDataTask, sized_config
from speechlm.tasks.epochs import EpochIterFactory
from speechlm.tasks.joint import JointEpochs
from speechlm.tasks.on_host import OnHost, taken
from speechlm.tasks.speech_units import SpeechUnits
from speechlm.tasks.text_units import StoredTextUnits, TextUnits
from speechlm.tasks.update_size import log_sharing, share_update
from speechlm.tasks.workers import from_all_workers
from speechlm.tokenizers.durations import DurationTable, UnitDurations
from speechlm.tokenizers.phoneme_text import PhonemeTextTokenizer

DATA_OPTIONS = (
    *("speech_dir", "dev_dir", "text", "dev_text", "text_units", "dev_text_units"),
    *("lexicon", "durations", "init_speech"),
)
"""Files and folders to train on; `speechlm.bin.pretrain` says what they are."""


COUNTS = ("lines_left_out", "impossible_lines", "unknown_words")
"""What a batch says of its text, for the statistics."""


class PretrainModel(AbsESPnetModel):
    """SpeechLM with ESPnet's calling convention.

    Args:
        model: the network.
        with_text: whether batches have text; then every batch reports `loss_ctc`.
        cpu_bfloat16: compute in bfloat16 autocast on the CPU (ESPnet's `use_amp` is CUDA's).
    """

    def __init__(self, model: SpeechLM, with_text: bool, cpu_bfloat16: bool = False) -> None:
        super().__init__()
        self.speechlm = model
        self.with_text, self.cpu_bfloat16 = with_text, cpu_bfloat16

    def forward(
        self, utt_id: list[str] | None = None, **batch: torch.Tensor | OnHost
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor], torch.Tensor]:
        """Loss (1,) per masked frame, statistics (1,), and the number (1,) of masked frames.

        The batch has tensors, on the host or where the model is: `waveforms`, `sample_lengths`,
        `labels`, and with text `units` and `characters`, as in `SpeechLM.forward`; counts of lines
        and words (see `TextUnits`), which are passed on to the statistics; and in validation
        `seed`, from which masks are drawn, while the random state outside is left as it was.
        """
        tensors = {name: taken(value) for name, value in batch.items()}
        waveforms = to_device(tensors.pop("waveforms"), self.speechlm.mask_emb)
        seed = tensors.pop("seed", None)
        counts = {name: tensors.pop(name).float() for name in COUNTS if name in tensors}
        devices = [waveforms.device] if waveforms.is_cuda else []
        with torch.random.fork_rng(devices, enabled=seed is not None):
            if seed is not None:
                torch.manual_seed(int(seed))
            with self._autocast(waveforms.device.type):
                loss, stats, weight = self.speechlm(waveforms, **tensors)
        if self.with_text and "loss_ctc" not in stats:  # no line of the batch could be used
            stats["loss_ctc"] = torch.full_like(stats["loss"], float("nan"))
            stats["impossible_lines"] = torch.zeros_like(stats["loss"])
            head = self.speechlm.unit_encoder_ctc_head
            if head is not None:  # every batch gives every weight a gradient: see may_leave_unused
                loss = loss + 0.0 * sum(weight.sum() for weight in head.parameters())
        # Impossible lines are those left out before, and those the model met
        for name, value in counts.items():
            stats[name] = stats.get(name, 0.0) + to_device(value, loss)
        return force_gatherable((loss, stats, weight), loss.device)

    def _autocast(self, device: str) -> Any:
        if device == "cpu" and self.cpu_bfloat16:
            return torch.autocast("cpu", torch.bfloat16)
        return contextlib.nullcontext()

    def collect_feats(self, **batch: torch.Tensor) -> dict[str, torch.Tensor]:
        """Not used: the model reads waveforms, there are no features to collect."""
        raise NotImplementedError("SpeechLM reads waveforms; there is no statistics stage")


class SpeechLMPretrainTask(OwnDataTask):
    """Joint pre-training on speech with units and on text; without text, on speech alone."""

    names = ("waveforms", "sample_lengths", "labels")
    optional_names = (
        *("units", "characters", "lines_left_out", "impossible_lines", "unknown_words"),
        "seed",
    )

    @classmethod
    def add_task_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Options of the model and of the data; ESPnet's own defaults become the authors'."""
        group = parser.add_argument_group("SpeechLM")
        cls.add_size(group, "the model whose values model_conf changes")
        group.add_argument(
            "--model_conf", action=NestedDictAction, default={}, help="differences from config_size"
        )
        group.add_argument(
            "--cpu_bfloat16", type=str2bool, default=False, help="bfloat16 autocast on the CPU"
        )
        group = parser.add_argument_group("SpeechLM's data")
        for name in DATA_OPTIONS:
            group.add_argument(f"--{name}", type=str_or_none, help="as in speechlm.bin.pretrain")
        group.add_argument("--units", default="units_phone", help="as in speechlm.bin.pretrain")
        group.add_argument(
            "--batch_samples",
            type=int,
            default=1_400_000,
            help="limit of the padded samples of speech of a batch and worker",
        )
        group.add_argument(
            "--batch_units",
            type=int,
            default=4375,
            help="limit of the padded text units of a batch and worker",
        )
        group.add_argument(
            "--min_samples",
            type=int,
            default=32_000,
            help="shorter utterances are left out, and listed",
        )
        group.add_argument(
            "--max_samples",
            type=int,
            default=250_000,
            help="longer utterances are cropped at random",
        )
        group.add_argument(
            "--pad_audio",
            type=str2bool,
            default=False,
            help="pad batches to the longest utterance, not crop them to the shortest",
        )
        cls.add_update_arguments(group)
        cls.add_common_arguments(parser)
        parser.set_defaults(
            iterator_type="task",
            optim="adamw",
            scheduler="linear_decay",
            grad_clip=10.0,
            optim_conf={"lr": 5e-4, "betas": [0.9, 0.98], "eps": 1e-6, "weight_decay": 0.01},
            best_model_criterion=[("valid", "loss", "min")],
            keep_nbest_models=[1],
        )
        parser.set_defaults(required=["output_dir", "speech_dir", "dev_dir"])

    @classmethod
    def add_update_arguments(cls, group: argparse._ActionsContainer) -> None:
        """What decides how the workers share the batches of an update (`update_size`)."""
        group.add_argument(
            "--for_workers",
            type=int_or_none,
            help="workers for which batch sizes, accum_grad and num_iters_per_epoch are written; "
            "with others an update has as many batches, and an epoch as many updates",
        )
        group.add_argument(
            "--batches_at_once",
            type=int_or_none,
            help="so many batches are put together as one; none: with --for_workers as many as "
            "the GPU has memory for, else 1",
        )
        group.add_argument("--gpu_gib", type=float_or_none, help="memory of a GPU; none: ask it")
        group.add_argument(
            "--batch_gib", type=float_or_none, help="estimate of what a batch takes of it"
        )
        group.add_argument(
            "--state_gib",
            type=float_or_none,
            help="estimate of what weights, gradients and optimiser take of it",
        )

    @classmethod
    def main_worker(cls, args: argparse.Namespace) -> None:
        """Share the batches of an update among the workers, and train."""
        workers = 1
        if args.distributed:
            workers = get_world_size(args.dist_world_size, args.dist_launcher)
        share_update(args, workers)
        super().main_worker(args)

    @classmethod
    def may_leave_unused(cls, args: argparse.Namespace) -> bool:
        """Dropped layers, a front end that is not trained, and without text the head of CTC."""
        config = sized_config(args.config_size, args.model_conf, "model_conf")
        dropped = config.speech_layerdrop or config.shared_layerdrop
        return bool(dropped or args.text is None or config.feature_grad_mult == 0)

    @classmethod
    def build_collate_fn(cls, args: argparse.Namespace, train: bool) -> Callable:
        """Not used: data sets give whole batches."""
        return list

    @classmethod
    def build_model(cls, args: argparse.Namespace) -> PretrainModel:
        """The network of `config_size` and `model_conf`, for the units of the speech."""
        config = sized_config(args.config_size, args.model_conf, "model_conf")
        if getattr(args, "unit_tokens", None) is None:  # kept in config.yaml from here on
            units = read_unit_info(Path(args.speech_dir) / args.units)[1]
            args.unit_tokens, args.unit_origin = list(units.symbols), units.origin
        vocabulary = model_units(args, f"{args.speech_dir}/{args.units}/tokens.txt")
        check_tokens(args, vocabulary)
        model = SpeechLM(config, vocabulary.n_ids, CharacterVocabulary.n_ids)
        model.mask_groups = args.batches_at_once or 1
        return PretrainModel(model, args.text is not None, args.cpu_bfloat16)

    @classmethod
    def build_task_iter_factory(
        cls, args: argparse.Namespace, iter_options: IteratorOptions, mode: str
    ) -> EpochIterFactory:
        """Batches of this worker, for training or validation."""
        config = sized_config(args.config_size, args.model_conf, "model_conf")
        train = mode == "train"
        rank, workers = 0, 1
        if iter_options.distributed:
            rank = torch.distributed.get_rank()
            workers = torch.distributed.get_world_size()
        if train:
            check_same_sharing(args)
            if rank == 0:
                log_sharing(args, workers)
        speech = SpeechUnits(
            args.speech_dir if train else args.dev_dir,
            args.units,
            label_rate=config.label_rate,
            min_samples=max(args.min_samples, config.framing.window),
            max_samples=args.max_samples,
            pad_audio=args.pad_audio,
            normalize=config.normalize_waveform,
            report=Path(args.output_dir) / f"left_out.{mode}.tsv" if rank == 0 else None,
        )
        speech.vocabulary.check_same(model_units(args, f"the model, trained on {args.speech_dir}"))
        epochs = JointEpochs(
            speech,
            build_text(args, train, config),
            batch_samples=args.batch_samples,
            batch_units=args.batch_units,
            seed=args.seed,
            rank=rank,
            workers=workers,
            steps=iter_options.num_iters_per_epoch if train else None,
            at_once=args.batches_at_once or 1,
            train=train,
        )
        return EpochIterFactory(epochs, args.num_workers, args.ngpu > 0, on_host=True)


def check_same_sharing(args: argparse.Namespace) -> None:
    """All workers must put together as many batches.

    Raises:
        ValueError: they do not, as their GPUs have different memories.
    """
    chosen = from_all_workers([args.batches_at_once or 1])
    if len(set(chosen)) > 1:
        raise ValueError(
            "the workers' GPUs have room for different numbers of batches at once "
            f"({', '.join(map(str, chosen))}): say --batches_at_once {min(chosen)} for all of them"
        )


def model_units(args: argparse.Namespace, source: str) -> UnitVocabulary:
    """The units of the model that is trained; `source`: what they are called in messages."""
    return UnitVocabulary(args.unit_tokens, source, getattr(args, "unit_origin", None))


def check_tokens(args: argparse.Namespace, vocabulary: UnitVocabulary) -> None:
    """The units of the data must be those of the training in the output folder, if it has begun."""
    path = Path(args.output_dir) / "tokens.txt"
    if path.exists():
        UnitVocabulary.read(path).check_same(vocabulary)
    else:
        vocabulary.write(path)


def build_text(args: argparse.Namespace, train: bool, config: SpeechLMConfig) -> TextUnits | None:
    """The text of training or validation, or None for speech-only training.

    A unit of text stands for a frame of the model that `config` describes.
    """
    if args.text is None:
        return None
    stored, frame_shift = args.text_units is not None, config.framing.seconds
    needed = ("dev_text", "dev_text_units" if stored else "lexicon")
    missing = [name for name in needed if getattr(args, name) is None]
    if missing:
        given = "--text with --text_units" if stored else "--text"
        raise ValueError(f"{given} needs --{' and --'.join(missing)} as well")
    units = model_units(args, f"the model, trained on {args.speech_dir}")
    if stored:
        text = StoredTextUnits(
            args.text if train else args.dev_text,
            args.text_units if train else args.dev_text_units,
            frame_shift,
            args.seed,
            config.ctc_outputs,
        )
        text.tokenizer.units.check_same(units)
        return text
    if units.symbols != PHONES:
        raise ValueError(
            f"the speech has {len(units)} units that are not the {len(PHONES)} phones: text "
            "needs units of the same kind, --text_units and --dev_text_units"
        )
    if args.durations is None:
        durations = UnitDurations.paper(frame_shift)
    else:
        spoken = [phone for phone in PHONES if not phone.startswith(("<", "#"))]
        table = DurationTable.read(args.durations)
        durations = UnitDurations.from_table(table, spoken, frame_shift)
    lexicon = Lexicon.read(args.lexicon)
    tokenizer = PhonemeTextTokenizer(lexicon, args.seed, durations, ctc_outputs=config.ctc_outputs)
    return TextUnits(args.text if train else args.dev_text, tokenizer)
