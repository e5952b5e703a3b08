"""An update of accumulated batches is that of one batch with all of their sentences."""

import pytest
import torch

from speechlm.checkpoints.trainer_files import load_weights_only
from speechlm.data.kaldi_dir import DataDir
from speechlm.tasks.accumulation import Accumulation
from speechlm.tasks.run_asr import finetune_asr


def accumulate(model, batches, accumulation):
    """What the loop does with the batches of an update."""
    for x in batches:
        weight = torch.tensor([len(x)])
        accumulation.share(model(x).square().mean(), weight, weight).backward()
        accumulation.after_backward()


def test_an_update_is_the_mean_over_all_sentences():
    """Also the next one; a sentence of a small batch counts as one of a large batch."""
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 2)
    accumulation = Accumulation(model, 4)
    for sizes in ((5, 1, 2, 40), (1, 0, 7, 2)):
        batches = [torch.randn(n, 3) for n in sizes if n]
        model.zero_grad()
        if 0 in sizes:  # a batch of nothing: its loss is 0
            batches.insert(1, torch.zeros(0, 3))
            model.register_forward_hook(lambda _m, args, out: out if len(args[0]) else out.sum())
        accumulate(model, batches, accumulation)
        found = [p.grad.clone() for p in model.parameters()]
        model.zero_grad()
        model(torch.cat(batches)).square().mean().backward()
        for gradient, parameter in zip(found, model.parameters(), strict=True):
            torch.testing.assert_close(gradient, parameter.grad)


def test_sentences_of_all_workers_count(monkeypatch):
    """Here one of two workers; the other has 3 and 2 sentences."""
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    model = torch.nn.Linear(1, 1, bias=False)
    accumulation = Accumulation(model, 2)
    ours, others = (1, 4), (3, 2)
    losses = [
        accumulation.share(torch.ones(1), torch.tensor([n]), torch.tensor(float(n + more)))
        for n, more in zip(ours, others, strict=True)
    ]
    # The mean over the workers, which are 2, of a batch of 4 and one of 6; an update has 2 batches
    assert [loss.item() for loss in losses] == pytest.approx([1 / 4 * 2 / 2, 6 / 4 * 4 / 6 * 2 / 2])
    model.weight.grad = torch.ones(1, 1)
    accumulation.after_backward()
    assert model.weight.grad.item() == pytest.approx(2 * 4 / 10)


def test_accumulated_sentences_count_as_in_one_batch(tmp_path, config, chords):
    """One long utterance, and some short ones: as two batches of an update, and as one."""
    whole = DataDir.read(chords / "train")
    by_length = sorted(whole.ids, key=whole.samples().__getitem__)
    whole.subset([*by_length[:5], by_length[-1]]).write(tmp_path / "data")
    longest, short = whole.samples()[by_length[-1]], whole.samples()[by_length[4]]
    assert 6 * longest > 5 * short > longest
    quiet = dict.fromkeys(("dropout", "attention_dropout", "input_dropout", "ctc_dropout"), 0.0)
    shape = {"embed_dim": 32, "ffn_dim": 64, "heads": 2, "speech_layers": 1, "shared_layers": 1}
    masks = {"time_mask_prob": 0.0, "channel_mask_prob": 0.0}
    values = {
        "encoder_conf": {**masks, "speechlm": {**quiet, **shape}},
        "optim": "sgd",
        "optim_conf": {"lr": 0.1},
        "scheduler": None,
        "scheduler_conf": {},
        "grad_clip": 1e9,
        "max_epoch": 1,
    }
    weights = []
    for name, bins, accumulated in (("two", 5 * short, 2), ("one", 6 * longest, 1)):
        path = config(
            "finetune",
            **values,
            batch_bins=bins,
            accum_grad=accumulated,
            num_iters_per_epoch=accumulated,
        )
        folder = finetune_asr(
            tmp_path / name, path, tmp_path / "data", chords / "dev", None, {"seed": 3}
        )
        weights.append(load_weights_only(folder / "latest.pth"))
    for name, value in weights[0].items():
        torch.testing.assert_close(value, weights[1][name], atol=1e-5, rtol=1e-3, msg=name)
