"""What the training tasks share: strict options, logs, threads, and the run's length."""

from __future__ import annotations

import argparse
import inspect
import logging
import os
import warnings
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed
from espnet2.iterators.abs_iter_factory import AbsIterFactory
from espnet2.iterators.sequence_iter_factory import SequenceIterFactory
from espnet2.tasks.abs_task import AbsTask, IteratorOptions, optim_classes, scheduler_classes
from espnet2.train.distributed_utils import get_rank
from torch.distributed.elastic.multiprocessing.errors import record
from torch.multiprocessing.spawn import ProcessExitedException

from speechlm.checkpoints.model_dir import SIZES
from speechlm.checkpoints.trainer_files import check_whole, load_weights_only
from speechlm.conventions import INTERRUPTED, nearest
from speechlm.data.atomic import library_writes, output_file
from speechlm.data.yaml_file import read_yaml
from speechlm.kernels.devices import check_gpus
from speechlm.kernels.memory import reuse_memory
from speechlm.models import SpeechLMConfig
from speechlm.models.config import OtherArchitecture
from speechlm.tasks.audio_loader import DATA_DIR
from speechlm.tasks.batching import limited_batches
from speechlm.tasks.interrupts import Interrupted, on_signals, stop_at_once
from speechlm.tasks.logs import log_failure, log_to
from speechlm.tasks.optimizers import MuonAndAdamW, muon_groups
from speechlm.tasks.resuming import check_resumed
from speechlm.tasks.schedulers import complete_schedule
from speechlm.tasks.trainer import SpeechLMTrainer


class TrainingTask(AbsTask):
    """Base of the project's ESPnet tasks.

    Adds `--num_threads`, a log file in the output folder, the trainer that survives kills, and
    schedules whose length follows from `max_epoch` and `num_iters_per_epoch`.
    """

    trainer = SpeechLMTrainer

    @classmethod
    def add_common_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Options that every training has beside ESPnet's."""
        parser.add_argument(
            "--num_threads", type=int, default=1, help="CPU threads of the training process"
        )
        parser.set_defaults(resume=True, num_att_plot=0, unused_parameters=None)

    @classmethod
    def may_leave_unused(cls, args: argparse.Namespace) -> bool:
        """Whether a batch may leave weights without a gradient; workers then look for them."""
        return True

    @classmethod
    def add_size(cls, parser: argparse._ActionsContainer, help_text: str) -> None:
        """`--config_size`, one of `SIZES`."""
        parser.add_argument("--config_size", choices=sorted(SIZES), default="base", help=help_text)

    @classmethod
    def build_optimizers(
        cls, args: argparse.Namespace, model: torch.nn.Module
    ) -> list[torch.optim.Optimizer]:
        """ESPnet's optimisers, and Muon; on the way the schedule gets its length.

        On GPUs Adam goes through all weights by one kernel, where torch would take nine on lists of
        them: `optim_conf` may say `foreach: true` or `fused: false`.
        """
        complete_schedule(args)
        chosen = {"fused", "foreach"} & args.optim_conf.keys()
        if args.ngpu > 0 and args.optim in ("adam", "adamw") and not chosen:
            fused = {**args.optim_conf, "fused": True}
            args = argparse.Namespace(**{**vars(args), "optim_conf": fused})
        if args.optim == "muon":
            if args.exclude_weight_decay:
                raise ValueError("exclude_weight_decay: --optim muon has none; leave it out")
            return [MuonAndAdamW(muon_groups(model), **args.optim_conf)]
        return super().build_optimizers(args, model)

    @classmethod
    def build_sequence_iter_factory(
        cls, args: argparse.Namespace, iter_options: IteratorOptions, mode: str
    ) -> AbsIterFactory:
        """ESPnet's loader; with `batch_type: numel` its batches keep the limit.

        A batch of a worker has at most batch_bins / workers padded numbers. (ESPnet closes a batch
        behind the utterance that exceeds batch_bins, and deals it to the workers after that.)

        Raises:
            ValueError: see `limited_batches`; options of ESPnet's that have no meaning then.
        """
        if iter_options.batch_type != "numel":
            return super().build_sequence_iter_factory(args, iter_options, mode)
        other = {"min_batch_size": 1, "drop_last_iter": False, "shuffle_within_batch": False}
        wrong = [name for name, value in other.items() if getattr(args, name) != value]
        if wrong:
            raise ValueError(f"batch_type numel goes without {', '.join(wrong)}: leave it out")
        rank, workers = 0, 1
        if iter_options.distributed:
            rank = torch.distributed.get_rank()
            workers = torch.distributed.get_world_size()
        shape_file, *_ = iter_options.shape_files
        batches = limited_batches(
            shape_file, iter_options.batch_bins, workers, getattr(args, "max_sentences", None)
        )[rank]
        sizes = [len(batch) for batch in batches]
        logging.info(
            "%s: %d batches of %d to %d utterances", mode, len(sizes), min(sizes), max(sizes)
        )
        return SequenceIterFactory(
            dataset=cls.build_dataset(args, iter_options, {u for batch in batches for u in batch}),
            batches=batches,
            num_iters_per_epoch=iter_options.num_iters_per_epoch,
            seed=args.seed,
            shuffle=iter_options.train,
            num_workers=args.num_workers,
            collate_fn=iter_options.collate_fn,
            pin_memory=args.ngpu > 0,
        )

    @classmethod
    def main(cls, args: argparse.Namespace | None = None, cmd: Sequence[str] | None = None) -> None:
        """Train, in this process or in one for each GPU.

        Raises:
            Interrupted: SIGTERM or SIGUSR1 has come; the state is saved.
        """
        try:
            with on_signals(stop_at_once):
                super().main(args, cmd)
        except ProcessExitedException as error:
            if error.exit_code == INTERRUPTED:
                raise Interrupted from None
            raise

    @classmethod
    def main_worker(cls, args: argparse.Namespace) -> None:
        """Train in this process, logging to stderr and to a file in the folder (`log_to`)."""
        torch.set_num_threads(args.num_threads)
        if not args.ngpu:
            reuse_memory()
        # set by ESPnet where it starts the workers itself; srun and torchrun say it by variables
        number = get_rank(args.dist_rank, args.dist_launcher) if args.distributed else 0
        log_to(args.output_dir, number or 0, args.log_level)
        if args.unused_parameters is None:
            args.unused_parameters = cls.may_leave_unused(args)
        if not number:  # which has written them where the others, that are not here yet, wait
            for item in args.init_param:
                check_weights_file(item.split(":")[0])
        check_resumed(args)  # before ESPnet writes the new options over the old ones
        # ESPnet's trainer calls autocast by its older name, which warns at every step.
        warnings.filterwarnings("ignore", message=r"`torch\.cuda\.amp\.", category=FutureWarning)
        with on_signals(stop_at_once), log_failure():
            record(super().main_worker)(args)  # torchrun shows the error that came first


class OwnDataTask(TrainingTask):
    """A task whose data sets give the tensors of a batch as they are."""

    names: tuple[str, ...]
    """Tensors of every batch."""
    optional_names: tuple[str, ...] = ()
    """Tensors that some batches have."""

    @classmethod
    def build_preprocess_fn(cls, args: argparse.Namespace, train: bool) -> Callable | None:
        """Nothing to do."""
        return None

    @classmethod
    def required_data_names(cls, train: bool = True, inference: bool = False) -> tuple[str, ...]:
        """Names of every batch's tensors."""
        return cls.names

    @classmethod
    def optional_data_names(cls, train: bool = True, inference: bool = False) -> tuple[str, ...]:
        """Names of tensors that some batches have."""
        return cls.optional_names


def parse_training(
    task: type[AbsTask],
    output: str | os.PathLike[str],
    config: str | None,
    options: Mapping[str, Any],
    espnet: Sequence[str],
) -> argparse.Namespace:
    """What a training is to do, from all the places where users say so.

    Args:
        task: whose parser to use.
        output: experiment folder.
        config: YAML file with defaults, or None.
        options: options of the task by name; None: not given. With more GPUs than one, each has a
            process: those that torchrun or tools/ranks.py has started, or else ESPnet's.
        espnet: further command line options; they go before the others.

    Raises:
        ValueError: as `parse_espnet`.
    """
    given = {"output_dir": output, **options}
    started = "LOCAL_RANK" in os.environ
    if (given.get("ngpu") or 0) > 1 and not started:
        given["multiprocessing_distributed"] = True
    arguments = [
        item
        for name, value in given.items()
        if value is not None
        for item in (f"--{name}", str(value))
    ]
    args = parse_espnet(task, [*arguments, *espnet], config)
    if started:  # this is one process of those for all GPUs
        args.ngpu, args.multiprocessing_distributed = min(args.ngpu, 1), False
    if not args.ngpu and args.dist_backend == "nccl":  # ESPnet's choice, which has no CPUs
        args.dist_backend = "gloo"
    return args


def data_options(part: str, sources: Mapping[str, tuple[Path, str]], shapes: Path) -> list[str]:
    """ESPnet's options for the data of a part.

    Args:
        part: `train` or `valid`.
        sources: name of a batch's tensor -> (file, ESPnet's type of it).
        shapes: file with the size of each utterance.
    """
    arguments = [f"--{part}_shape_file", str(shapes)]
    for name, (path, kind) in sources.items():
        arguments += [f"--{part}_data_path_and_name_and_type", f"{path},{name},{kind}"]
    return arguments


def speech_options(part: str, folder: Path, text: Path, samples: Path) -> list[str]:
    """ESPnet's options for the speech of a data directory and a table of its texts.

    Args:
        part: `train` or `valid`.
        folder: data directory.
        text: the table.
        samples: the utterances that ESPnet is to take, with their numbers of samples.
    """
    sources = {"speech": (folder / "wav.scp", DATA_DIR), "text": (text, "text")}
    return data_options(part, sources, samples)


def parse_espnet(
    task: type[AbsTask], arguments: Sequence[str], config: str | None
) -> argparse.Namespace:
    """Parse options and YAML of an ESPnet task, strictly.

    Args:
        task: whose parser to use.
        arguments: options as on a command line, without `--config`.
        config: YAML file with defaults, or None.

    Raises:
        ValueError: an option or YAML key that does not exist (the nearest valid one is named), an
            argument that the optimiser or scheduler does not take, a number of GPUs or threads
            that cannot be, or more GPUs than there are.
    """
    parser = task.get_parser()
    known = [action.dest for action in parser._actions]
    for item in arguments:
        if item.startswith("--"):
            name = item.split("=", 1)[0]
            check_keys([name[2:]], known, "the command line")
    if config is not None:
        check_keys(read_yaml(config, " (given as --config)"), known, str(config))
        arguments = ["--config", str(config), *arguments]
    args = parser.parse_args(arguments)
    for name, least in (("ngpu", 0), ("num_threads", 1)):
        if getattr(args, name) < least:
            raise ValueError(f"{name}: {least} or more expected, got {getattr(args, name)}")
    check_gpus(args.ngpu)
    check_conf("optim_conf", args.optim_conf, optim_classes[args.optim], ("params",))
    if args.scheduler is not None:
        chosen = scheduler_classes[args.scheduler]
        check_conf("scheduler_conf", args.scheduler_conf, chosen, ("optimizer", "last_epoch"))
    return args


def check_keys(keys: Iterable[str], known: Sequence[str], where: str) -> None:
    """Make sure that all keys are known.

    Raises:
        ValueError: some are not; each is named with the nearest known one.
    """
    wrong = []
    for key in keys:
        if key not in known:
            near = nearest(key, known)
            wrong.append(f'"{key}"' + (f' (the nearest valid one is "{near}")' if near else ""))
    if wrong:
        raise ValueError(f"{where}: unknown option {', '.join(wrong)}")


def check_conf(name: str, values: dict[str, Any], chosen: type, given: Sequence[str]) -> None:
    """Make sure that a class takes the arguments of an `*_conf` option.

    Raises:
        ValueError: it does not.
    """
    known = [p for p in inspect.signature(chosen).parameters if p not in given]
    check_keys(values, known, f"{name} of {chosen.__name__}")


def sized_config(size: str, changes: Mapping[str, Any], option: str) -> SpeechLMConfig:
    """One of `SIZES`, with changes.

    Args:
        size: its name.
        changes: values of `SpeechLMConfig`.
        option: where the changes were given, for messages.

    Raises:
        ValueError: the changes do not fit the size.
    """
    try:
        return SIZES[size](**changes)
    except OtherArchitecture as error:
        kind = SIZES[size]().architecture
        raise ValueError(
            f"{option}: {error} (--config_size {size} is of architecture {kind}; is --config for "
            "another size?)"
        ) from None
    except ValueError as error:  # wrong for any size
        raise ValueError(f"{option}: {error}") from None


def scratch_config(size: str, changes: Mapping[str, Any]) -> SpeechLMConfig:
    """The model to fine-tune without pre-trained weights: one of `SIZES`, with changes.

    Its front end has to learn, so that the factor of the front end's gradient is 1.

    Raises:
        ValueError: the changes do not fit the size.
    """
    return sized_config(size, {**changes, "feature_grad_mult": 1.0}, "encoder_conf.speechlm")


def start_from(args: argparse.Namespace, weights: Callable[[], Mapping[str, torch.Tensor]]) -> None:
    """Let a training start from weights, which the first worker writes into init.pth.

    Args:
        args: the training's options; `init_param` gets the file, before what the user gave, which
            is loaded over it.
        weights: makes the weights, under the names of the ESPnet model.
    """
    initial = Path(args.output_dir) / "init.pth"
    args.init_param = [str(initial), *args.init_param]
    if is_first_worker():
        with output_file(initial) as temporary, library_writes(initial, RuntimeError):
            torch.save(dict(weights()), temporary)


def check_weights_file(path: str | os.PathLike[str]) -> None:
    """Make sure that a file of weights, which ESPnet will load, can be loaded.

    Raises:
        ValueError: it is missing, empty, cut off, damaged or something else.
    """
    if zipfile.is_zipfile(path):
        check_whole(path)
    else:  # of torch's older format, which is read to know, or none of its files
        load_weights_only(path)


def is_first_worker() -> bool:
    """Whether this process writes the files that all workers share."""
    if torch.distributed.is_initialized():
        return torch.distributed.get_rank() == 0
    return os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0")) == "0"
