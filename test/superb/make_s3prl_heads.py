"""Writes s3prl_heads.npz: what the heads of s3prl 0.4.18 give, with weights that are drawn.

    pip install --no-deps --target DIR s3prl==0.4.18
    PYTHONPATH=. .venv/bin/python test/superb/make_s3prl_heads.py DIR

The modules of s3prl/nn are read alone, as its package imports what is not installed here.
"""

import importlib
import sys
import types
from pathlib import Path

import numpy as np
import torch

FRAMES, DIM, OUTPUTS = 40, 6, 5
LENGTHS = (40, 31, 20)


def features() -> tuple[torch.Tensor, torch.Tensor]:
    """Features (3, T, D) and lengths."""
    x = np.random.default_rng(0).normal(size=(len(LENGTHS), FRAMES, DIM)).astype(np.float32)
    return torch.from_numpy(x), torch.tensor(LENGTHS)


def drawn(shapes: dict[str, tuple[int, ...]]) -> dict[str, torch.Tensor]:
    """Weights by name: normal numbers by the square root of the inputs, each by its name."""
    found = {}
    for name, shape in shapes.items():
        rng = np.random.default_rng([ord(c) for c in name])
        scale = 1 / np.sqrt(shape[-1] if len(shape) > 1 else 16)
        found[name] = torch.from_numpy((scale * rng.normal(size=shape)).astype(np.float32))
    return found


def fill(module: torch.nn.Module) -> torch.nn.Module:
    """Give a module of s3prl drawn weights."""
    module.load_state_dict(drawn({n: tuple(w.shape) for n, w in module.state_dict().items()}))
    return module.eval()


def main() -> None:
    """Run each head, write what they give."""
    for name, folder in (("s3prl", "s3prl"), ("s3prl.nn", "s3prl/nn")):
        sys.modules[name] = types.ModuleType(name)
        sys.modules[name].__path__ = [str(Path(sys.argv[1]) / folder)]
    linear, rnn, model, loss = (
        importlib.import_module(f"s3prl.nn.{name}")
        for name in ("linear", "rnn", "speaker_model", "speaker_loss")
    )
    x, lengths = features()
    two, no = [8, 8], [False, False]
    recurrent = rnn.RNNEncoder(
        DIM, OUTPUTS, "LSTM", 8, two, [0.2, 0.2], no, no, [1, 1], "concat", True
    )
    vector, margin = fill(model.SuperbXvector(DIM)), fill(loss.amsoftmax(512, 4, 0.4, 30))
    with torch.no_grad():
        embedding = vector(x, lengths)
        found = {
            "frame": fill(linear.FrameLevelLinear(DIM, OUTPUTS))(x, lengths)[0],
            "mean": fill(linear.MeanPoolingLinear(DIM, OUTPUTS))(x, lengths),
            "recurrent": fill(recurrent)(x, lengths)[0],
            "xvector": embedding,
            "trained": vector.train()(x, lengths),
            "margin": margin(embedding, torch.tensor([0, 3, 1]))[0],
            "diarizer": fill(rnn.SuperbDiarizationModel(DIM, 2, 1, 512))(x, lengths)[0],
        }
    arrays = {name: value.numpy() for name, value in found.items()}
    np.savez_compressed(Path(__file__).with_name("s3prl_heads.npz"), **arrays)


if __name__ == "__main__":
    main()
