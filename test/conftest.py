"""Fixtures that every test may use: where things are, a corpus of chords, very small models."""

import dataclasses
import importlib.util
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType

import pytest
import torch
import yaml

from speechlm.checkpoints.ctc_encoder import split_weights
from speechlm.checkpoints.model_dir import load_speechlm, save_speechlm
from speechlm.data.archives import ArchiveReader, ArchiveWriter, merge_archives
from speechlm.data.dir_parts import split
from speechlm.data.kaldi_dir import DataDir
from speechlm.data.vocabulary import UnitVocabulary
from speechlm.kernels import KERNELS
from speechlm.models import SpeechLM, SpeechLMConfig

ROOT = Path(__file__).resolve().parents[1]

# One thread a process, here (torch has read the environment already) and in those it starts: the
# suite's tensors are small, jobs of a recipe run side by side, and tests fork, after which the
# child of a process with several OpenMP threads waits for ever.
torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"

# A recipe starts a hundred programs. Where PYTHONDONTWRITEBYTECODE is set each of them compiles
# torch (2 s) and ESPnet (4 s) again: the suite then keeps the bytecode in a folder of its own.
if sys.dont_write_bytecode:
    sys.dont_write_bytecode = False
    sys.pycache_prefix = str(ROOT / ".pytest_cache" / "bytecode")
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = sys.pycache_prefix


def module(name: str) -> ModuleType:
    """Return a module of this folder."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "test" / f"{name}.py")
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


corpus, programs = module("corpus"), module("programs")

MODEL = {
    "conv_layers": [[16, 10, 5]] + [[16, 3, 2]] * 4 + [[16, 2, 2]] * 2,
    "embed_dim": 32,
    "ffn_dim": 64,
    "heads": 2,
    "speech_layers": 1,
    "shared_layers": 1,
    "pos_conv_kernel": 16,
    "pos_conv_groups": 4,
    "unit_dim": 16,
    "max_positions": 600,
}
FAST = {
    "mel_channels": 20,
    "subsampling_channels": 16,
    "embed_dim": 32,
    "ffn_dim": 64,
    "heads": 2,
    "speech_layers": 1,
    "shared_layers": 1,
}
PRETRAIN = {
    "config_size": "tiny",
    "model_conf": MODEL,
    "batch_samples": 160000,
    "batch_units": 500,
    "min_samples": 8000,
    "pad_audio": True,
    "max_epoch": 3,
    "num_iters_per_epoch": 5,
    "scheduler_conf": {"warmup_steps": 2},
    "num_workers": 0,
    "use_matplotlib": False,
    "use_tensorboard": False,
    "optim_conf": {"lr": 5.0e-3, "betas": [0.9, 0.98], "eps": 1.0e-6, "weight_decay": 0.01},
}
FINETUNE = {
    "config_size": "tiny",
    "batch_bins": 320000,
    "max_epoch": 2,
    "num_iters_per_epoch": 4,
    "optim_conf": {"lr": 2.0e-3},
    "num_workers": 0,
    "use_matplotlib": False,
    "use_tensorboard": False,
    "encoder_conf": {
        "time_mask_prob": 0.1,
        "time_mask_length": 3,
        "channel_mask_prob": 0.1,
        "channel_mask_length": 4,
        "speechlm": {"feature_grad_mult": 0.0},
    },
}


@pytest.fixture(autouse=True)
def signals_as_they_were() -> Iterator[None]:
    """What was interrupted ignores further signals, and programs that it starts do, too."""
    signals = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)
    before = {number: signal.getsignal(number) for number in signals}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's folder."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real recordings and reference tensors; tests that ask for it skip if absent."""
    path = Path(os.environ.get("SPEECHLM_SHARED", ROOT.parent / "shared"))
    if not path.is_dir():
        pytest.skip(f"no shared data at {path} (set SPEECHLM_SHARED to where it is)")
    return path


@pytest.fixture(scope="session")
def like_a_gpu():
    """Function: a context in which the CPU takes the kernels that are for GPUs, and no others."""

    @contextmanager
    def choose():
        before = dict(KERNELS)
        for name, row in before.items():
            devices = () if "cpu" in row.devices else ("cpu",)
            KERNELS[name] = dataclasses.replace(row, devices=devices)
        try:
            yield
        finally:
            KERNELS.update(before)

    return choose


@pytest.fixture
def full_disk():
    """Function: size -> context in which no file can be longer than so many bytes."""

    @contextmanager
    def limited(size: int):
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return limited


class SmallDisk:
    """A file system of its own with a megabyte of room."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(path)]
        if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
            pytest.skip("mounting is not allowed here")

    def fill(self) -> None:
        """Leave no byte."""
        with open(self.path / "filling", "wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(4096))

    def make_room(self) -> None:
        """Undo `fill`."""
        (self.path / "filling").unlink()

    def make_read_only(self) -> None:
        """Nothing can be written from now on."""
        subprocess.run(["mount", "-o", "remount,ro", str(self.path)], check=True)


@pytest.fixture
def small_disk(tmp_path):
    """A `SmallDisk`; the test is skipped where mounting is not allowed."""
    disk = SmallDisk(tmp_path / "small disk")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk.path)], check=True)


@pytest.fixture(scope="session")
def run_main():
    """Function that runs a program of speechlm.bin here: run_main("score", "--ref", ...)."""
    return programs.run_main


@pytest.fixture(scope="session")
def model_values():
    """Function: changes -> values of a very small model."""
    return lambda **changes: {**MODEL, **changes}


@pytest.fixture(scope="session")
def fast_values():
    """Function: changes -> values of a very small fast model."""
    return lambda **changes: {**FAST, **changes}


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory, model_values, fast_values):
    """Function that writes a very small SpeechLM of random weights, and its folder."""

    def make(size: str = "base", seed: int = 0, **changes) -> Path:
        torch.manual_seed(seed)
        values = {"speech_layers": 2, "shared_layers": 2, **changes}
        sizes = fast_values if size.startswith("fast") else model_values
        config = getattr(SpeechLMConfig, size)(**sizes(**values))
        units = UnitVocabulary(map(str, range(9)))
        path = tmp_path_factory.mktemp("speechlm") / "model"
        save_speechlm(path, config, units, SpeechLM(config, units.n_ids, 33).state_dict())
        return path

    return make


@pytest.fixture(scope="session")
def save_fine_tuning():
    """Function: (model folder, folder to write) -> a CTC fine-tuning in it, as ESPnet leaves one.

    The weights are the model's, but for the last projection's, which make it write many letters.
    """

    def save(pretrained: Path, folder: Path) -> Path:
        model, _ = load_speechlm(pretrained)
        encoder, output = split_weights(model.state_dict())
        weights = {f"encoder.{name}": value for name, value in encoder.items()}
        weights |= {f"ctc.ctc_lo.{name}": value * 20 for name, value in output.items()}
        conf = {"encoder": "speechlm", "encoder_conf": {"speechlm": model.config.to_dict()}}
        folder.mkdir()
        (folder / "config.yaml").write_text(yaml.safe_dump({**conf, "decoder_conf": {}}))
        torch.save(weights, folder / "valid.wer_ctc.ave.pth")
        return folder

    return save


@pytest.fixture(scope="session")
def rewrite_archive():
    """Function that writes an archive anew, after a change of its dictionary."""

    def rewrite(folder: Path, name: str, change: Callable[[dict], object]) -> None:
        arrays = dict(ArchiveReader(folder / f"{name}.scp"))
        change(arrays)
        with ArchiveWriter(folder, name, 1) as writer:
            for utterance in sorted(arrays):
                writer.write(utterance, arrays[utterance])
        merge_archives(folder, 1, name)

    return rewrite


@pytest.fixture(scope="session")
def chords(tmp_path_factory) -> Path:
    """A corpus with train, dev, text, dev_text and lexicon."""
    return corpus.make_corpus(tmp_path_factory.mktemp("chords"))


@pytest.fixture(scope="session")
def make_data_dir():
    """Function that makes a data directory of chords."""
    return corpus.make_data_dir


@pytest.fixture(scope="session")
def join_recordings():
    """Function that makes a data directory whose utterances are parts of a file a speaker."""
    return corpus.join_recordings


@pytest.fixture(scope="session")
def config_values():
    """Function that writes a YAML file of a task ("pretrain", "finetune") with changes."""

    def write(folder: Path, task: str, **changes) -> str:
        values = {"pretrain": PRETRAIN, "finetune": FINETUNE}[task] | changes
        path = folder / f"{task}.yaml"
        path.write_text(yaml.safe_dump(values))
        return str(path)

    return write


@pytest.fixture
def config(tmp_path, config_values):
    """The same in the test's own folder."""
    return lambda task, **changes: config_values(tmp_path, task, **changes)


@pytest.fixture(scope="session")
def data_options(chords):
    """Options of pre-training on the corpus, with text."""
    return {
        "speech_dir": chords / "train",
        "dev_dir": chords / "dev",
        "text": chords / "text",
        "dev_text": chords / "dev_text",
        "lexicon": chords / "lexicon",
        "seed": 3,
    }


@pytest.fixture
def parts_of(tmp_path):
    """Cuts data into parts, as parallel jobs read them."""

    def cut(data: DataDir, n: int) -> list[DataDir]:
        data.write(tmp_path / "whole")
        folder = tmp_path / f"parts{n}"
        count = split(tmp_path / "whole", folder, n)
        return [DataDir.read(folder / str(number)) for number in range(1, count + 1)]

    return cut
