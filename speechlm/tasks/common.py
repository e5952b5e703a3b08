"""What the training tasks share: strict options, logs, threads, and the run's length."""

from __future__ import annotations

import argparse
import difflib
import inspect
import logging
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed
import yaml
from espnet2.tasks.abs_task import AbsTask, optim_classes, scheduler_classes

from speechlm.kernels.memory import reuse_memory
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
        parser.set_defaults(resume=True, num_att_plot=0, unused_parameters=True)

    @classmethod
    def build_optimizers(
        cls, args: argparse.Namespace, model: torch.nn.Module
    ) -> list[torch.optim.Optimizer]:
        """ESPnet's optimisers; on the way the schedule gets its length."""
        complete_schedule(args)
        return super().build_optimizers(args, model)

    @classmethod
    def main_worker(cls, args: argparse.Namespace) -> None:
        """Train in this process, logging to stderr and, at the first worker, to train.log."""
        torch.set_num_threads(args.num_threads)
        if not args.ngpu:
            reuse_memory()
        log_to(args.output_dir, first=not args.dist_rank, level=args.log_level)
        super().main_worker(args)


def log_to(folder: str | os.PathLike[str], first: bool, level: str) -> None:
    """Send the log to stderr and, if `first`, append it to folder/train.log as well."""
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stderr)]
    if first:
        Path(folder).mkdir(parents=True, exist_ok=True)
        handlers.append(logging.FileHandler(Path(folder) / "train.log", encoding="utf-8"))
    logging.basicConfig(
        level=level if first else "ERROR",
        handlers=handlers,
        force=True,
        format="%(asctime)s (%(module)s:%(lineno)d) %(levelname)s: %(message)s",
    )
    logging.getLogger("matplotlib").setLevel(logging.WARNING)


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
            argument that the optimiser or scheduler does not take, or more GPUs than there are.
    """
    parser = task.get_parser()
    known = [action.dest for action in parser._actions]
    for item in arguments:
        if item.startswith("--"):
            name = item.split("=", 1)[0]
            check_keys([name[2:]], known, "the command line")
    if config is not None:
        path = Path(config)
        if not path.is_file():
            raise ValueError(f"configuration {path} expected, but it is not there")
        try:
            values = yaml.safe_load(path.read_text(encoding="utf-8"))
        except yaml.YAMLError as error:
            raise ValueError(f"{path} is not YAML: {error}") from None
        if not isinstance(values, dict):
            raise ValueError(f"{path}: `key: value` lines expected")
        check_keys(values, known, str(path))
        arguments = ["--config", str(path), *arguments]
    args = parser.parse_args(arguments)
    if args.ngpu > torch.cuda.device_count():
        raise ValueError(f"--ngpu {args.ngpu}: torch finds {torch.cuda.device_count()} GPUs here")
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
            near = difflib.get_close_matches(str(key), known, 1, 0)
            wrong.append(f'"{key}"' + (f' (the nearest valid one is "{near[0]}")' if near else ""))
    if wrong:
        raise ValueError(f"{where}: unknown option {', '.join(wrong)}")


def check_conf(name: str, values: dict[str, Any], chosen: type, given: Sequence[str]) -> None:
    """Make sure that a class takes the arguments of an `*_conf` option.

    Raises:
        ValueError: it does not.
    """
    known = [p for p in inspect.signature(chosen).parameters if p not in given]
    check_keys(values, known, f"{name} of {chosen.__name__}")


def command_line(options: Mapping[str, Any]) -> list[str]:
    """Command line of the options that are given."""
    return [
        item
        for name, value in options.items()
        if value is not None
        for item in (f"--{name}", str(value))
    ]


def is_first_worker() -> bool:
    """Whether this process writes the files that all workers share."""
    if torch.distributed.is_initialized():
        return torch.distributed.get_rank() == 0
    return os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0")) == "0"
