"""What only a GPU can show: its values beside those of the plain definitions on a CPU.

Where there is none, the tests compare the CPU's own kernels with the definitions.

On a machine with a GPU: `python -m pytest -q test/tasks/test_on_a_gpu.py`, and again with
`SPEECHLM_TRITON=1`.
"""

import math
from types import SimpleNamespace

import pytest
import torch

from speechlm.kernels import plain
from speechlm.models import SpeechLM, SpeechLMConfig
from speechlm.tasks import ledger, loop
from speechlm.tasks.inside import Run
from speechlm.tasks.ledger import Ledger
from speechlm.tasks.on_host import keep_on_host
from speechlm.tasks.pretrain import PretrainModel
from speechlm.tasks.updates import Updates

from espnet2.train.reporter import SubReporter  # isort: skip

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU here")
DEVICES = ["cpu", pytest.param("cuda", marks=needs_gpu)]
FRONT = "input_dropout"  # which fast models do not have
KINDS = ["tiny", "fast_tiny"]
QUIET = {"dropout": 0.0, "attention_dropout": 0.0, FRONT: 0.0, "ctc_dropout": 0.0}
QUIET |= {"speech_layerdrop": 0.0, "shared_layerdrop": 0.0}


def network(kind: str) -> SpeechLM:
    torch.manual_seed(0)
    sizes = {"embed_dim": 64, "ffn_dim": 128, "heads": 2, "speech_layers": 2, "shared_layers": 2}
    quiet = {name: value for name, value in QUIET.items() if kind == "tiny" or name != FRONT}
    return SpeechLM(getattr(SpeechLMConfig, kind)(**sizes, **quiet), 369, 33)


def batch(number: int = 0) -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(number)

    def ids(low, high, *shape):
        return torch.randint(low, high, shape, generator=draw)

    return {
        "waveforms": 0.1 * torch.randn(2, 16000, generator=draw),
        "sample_lengths": torch.tensor([16000, 14000]),
        "labels": ids(4, 300, 2, 98),
        "units": ids(4, 300, 2, 40),
        "characters": ids(4, 30, 2, 8),
    }


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_features_of_all_numbers_of_frames(kind, device):
    """Also where the rows of attention's bias begin at every multiple of its numbers."""
    model = network(kind).eval()
    waveforms = [0.1 * torch.randn(1, 400 + 320 * frames) for frames in range(496, 505)]
    with plain():
        expected = [model.extract_features(x)[0] for x in waveforms]
    model.to(device)
    for x, y in zip(waveforms, expected, strict=True):
        found = model.extract_features(x.to(device))[0].cpu()
        torch.testing.assert_close(found, y, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_step_has_the_loss_and_the_gradients_of_the_definition(kind, device):
    def step(where):
        model = network(kind).to(where).train()
        torch.manual_seed(1)  # of the masks, which are drawn on the host
        tensors = batch()
        loss, _, _ = model(tensors.pop("waveforms").to(where), **tensors)
        loss.backward()
        return loss.cpu(), {name: p.grad.cpu() for name, p in model.named_parameters()}

    with plain():
        loss, gradients = step("cpu")
    found, others = step(device)
    torch.testing.assert_close(found, loss, atol=1e-4, rtol=1e-4)
    largest = {name: float(gradient.abs().max()) for name, gradient in gradients.items()}
    noise = 1e-5 * max(largest.values())  # such as keys' biases have, whose gradients are zero
    for name, gradient in gradients.items():
        atol = 1e-3 * largest[name] + noise
        torch.testing.assert_close(others[name], gradient, atol=atol, rtol=0, msg=name)


class Pinned:
    """Batches as a loader gives them, with something to do when one is asked for."""

    def __init__(self, number: int, device: str, asked) -> None:
        self.number, self.asked = number, asked
        held = [keep_on_host(([f"utt-{i}"], batch(i)))[1] for i in range(number)]
        pin = device == "cuda"
        self.held = [{n: x.pin_memory() if pin else x for n, x in b.items()} for b in held]

    def __len__(self) -> int:
        return self.number

    def __iter__(self):
        for number, tensors in enumerate(self.held):
            self.asked(number)
            yield [f"utt-{number}"], tensors
        self.asked(self.number)


def train(device: str, number: int, asked, use_amp=False, output_dir=""):
    """The model, its optimiser and the reporter after so many updates."""
    model = PretrainModel(network("tiny").to(device), with_text=True)
    torch.manual_seed(1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    options = SimpleNamespace(
        max_epoch=1,
        **{"ngpu": int(device == "cuda"), "accum_grad": 1, "grad_clip": 10.0, "use_amp": use_amp},
        **{"grad_clip_type": 2.0, "log_interval": 1000, "checkpoint_minutes": 0.0},
        **{"max_nonfinite_updates": 99, "output_dir": output_dir},
    )
    run = Run(options, model, [optimizer], [None])
    updates = Updates(model, [optimizer], [None], None, options)
    reporter = SubReporter("train", 1, 0)
    book = Ledger(reporter, run, loop.device_of(model))
    loop.train(model, Pinned(number, device, lambda n: asked(n, model)), updates, book, run, print)
    return model, optimizer, reporter


@pytest.mark.parametrize("device", DEVICES)
def test_losses_of_updates_are_those_of_the_definition(device):
    def losses(where):
        reporter = train(where, 8, lambda *_: None)[2]
        return [value.value for value in reporter.stats["loss"]]

    with plain():
        expected = losses("cpu")
    found = losses(device)
    assert found == pytest.approx(expected, rel=1e-3) and len(found) == 8


@needs_gpu
@pytest.mark.parametrize("use_amp", [False, True])
def test_updates_wait_for_nothing(use_amp):
    """torch warns of each wait that it knows of; the first updates make memory and kernels."""

    def watch(number, _model):
        if number in (3, 9):  # while the updates from the fourth to the ninth are made
            torch.cuda.set_sync_debug_mode("error" if number == 3 else "default")

    try:
        train("cuda", 10, watch, use_amp)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("device", DEVICES)
def test_a_broken_update_does_not_get_into_the_weights(device, tmp_path, monkeypatch):
    """The mask embedding is no number in the fourth batch alone, from which nothing is learnt."""
    monkeypatch.setattr(ledger, "read_every", lambda device: 20)
    before: dict = {}
    learnt = []

    def spoil(number, model):
        weight = model.speechlm.mask_emb
        with torch.no_grad():
            if number == 3:
                before.update({n: p.clone() for n, p in model.named_parameters()})
                weight.fill_(math.nan)
            if number == 4:
                weight.copy_(before["speechlm.mask_emb"])
            if number >= 4:
                learnt.append(
                    sum(not torch.equal(p, before[n]) for n, p in model.named_parameters())
                )

    with pytest.raises(ledger.TrainingStopped, match="batch 4 of the epoch"):
        train(device, 6, spoil, output_dir=tmp_path)
    assert learnt[0] == 0 and learnt[1] > 10  # the update after it learns again
