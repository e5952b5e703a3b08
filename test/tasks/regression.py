"""A training of `SpeechLMTrainer` that takes a part of a second: a linear map with dropout."""

import os
from pathlib import Path

import numpy as np
import torch

import speechlm.tasks  # noqa: F401
from speechlm.checkpoints.trainer_files import load_weights_only
from speechlm.tasks.trainer import Options, SpeechLMTrainer

from espnet2.iterators.abs_iter_factory import AbsIterFactory  # isort: skip
from espnet2.schedulers.tristage_lr import TristageLR  # isort: skip
from espnet2.train.abs_espnet_model import AbsESPnetModel  # isort: skip
from espnet2.train.distributed_utils import DistributedOption  # isort: skip

EPOCHS, BATCHES = 3, 6


class Regression(AbsESPnetModel):
    """A linear map with dropout, so that the random state matters."""

    def __init__(self):
        super().__init__()
        self.map = torch.nn.Linear(8, 3)
        self.dropout = torch.nn.Dropout(0.3)

    def forward(self, x, y, utt_id=None):
        loss = (self.dropout(self.map(x)) - y).square().mean()
        return loss, {"loss": loss.detach()}, torch.tensor([float(len(x))])

    def collect_feats(self, **batch):
        raise NotImplementedError


class Epoch(torch.utils.data.Dataset):
    """Batches drawn from (seed, epoch, number)."""

    def __init__(self, epoch, on_batch):
        self.epoch, self.on_batch = epoch, on_batch

    def __len__(self):
        return BATCHES

    def __getitem__(self, i):
        random = np.random.default_rng([7, self.epoch, i])
        x = torch.tensor(random.standard_normal((4 + i % 3, 8)), dtype=torch.float32)
        batch = {"x": x, "y": x[:, :3] * 0.5 + 1}
        self.on_batch(self.epoch, i, batch)
        return [f"utt-{self.epoch}-{i}-{n}" for n in range(len(x))], batch


class Batches(AbsIterFactory):
    """Loaders of epochs; `on_batch(epoch, i, batch)` may spoil or kill."""

    def __init__(self, on_batch=lambda epoch, i, batch: None, num_workers=0):
        self.on_batch, self.num_workers = on_batch, num_workers

    def build_iter(self, epoch, shuffle=None):
        return torch.utils.data.DataLoader(
            Epoch(epoch, self.on_batch), batch_size=None, num_workers=self.num_workers
        )


def options(folder: Path, **changes) -> Options:
    values = dict(
        ngpu=0,
        resume=True,
        use_amp=False,
        train_dtype="float32",
        grad_noise=False,
        accum_grad=2,
        grad_clip=1.0,
        grad_clip_type=2.0,
        log_interval=None,
        no_forward_run=False,
        use_matplotlib=False,
        use_tensorboard=False,
        use_wandb=False,
        adapter="lora",
        use_adapter=False,
        save_strategy="all",
        output_dir=folder,
        max_epoch=EPOCHS,
        seed=3,
        sharded_ddp=False,
        patience=None,
        keep_nbest_models=[2],
        nbest_averaging_interval=2,
        early_stopping_criterion=("valid", "loss", "min"),
        best_model_criterion=[("valid", "loss", "min"), ("train", "loss", "min")],
        val_scheduler_criterion=("valid", "loss"),
        unused_parameters=False,
        wandb_model_log_interval=-1,
        create_graph_in_tensorboard=False,
        gradient_as_bucket_view=True,
        ddp_comm_hook=None,
        max_nonfinite_updates=3,
        checkpoint_minutes=10.0,
    )
    return Options(**(values | changes))


def train(
    folder: Path,
    on_batch=lambda epoch, i, batch: None,
    num_workers=0,
    on_validation=lambda epoch, i, batch: None,
    fused=False,
    **changes,
) -> None:
    folder.mkdir(exist_ok=True)
    torch.manual_seed(0)
    model = Regression()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.05, fused=fused or None)
    SpeechLMTrainer.run(
        model=model,
        optimizers=[optimizer],
        schedulers=[TristageLR(optimizer, max_steps=EPOCHS * BATCHES // 2)],
        train_iter_factory=Batches(on_batch, num_workers),
        valid_iter_factory=Batches(on_validation),
        plot_attention_iter_factory=None,
        trainer_options=options(folder, **changes),
        distributed_option=DistributedOption(),
    )


def in_child(function, *arguments, **options) -> int:
    """Call in a child process; its exit status, negative for the signal that ended it."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            function(*arguments, **options)
            status = 0
        except SystemExit as end:
            status = end.code
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def contents(folder: Path) -> dict:
    """Everything that a training leaves, without the times."""
    found = {}
    for path in sorted(folder.iterdir()):
        if path.is_symlink():
            found[path.name] = os.readlink(path)
        elif path.suffix == ".pth":
            found[path.name] = plain(load_weights_only(path))
    return found


def plain(value):
    """Without tensors, tuples and times."""
    if isinstance(value, torch.Tensor):
        return value.tolist()
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items() if not str(k).endswith("time")}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    return value
