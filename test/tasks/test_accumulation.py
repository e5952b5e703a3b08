"""An update of accumulated batches is that of one batch with all of their sentences."""

import pytest
import torch

from speechlm.checkpoints.trainer_files import load_weights_only
from speechlm.data.kaldi_dir import DataDir
from speechlm.tasks.accumulation import Accumulation
from speechlm.tasks.run_asr import finetune_asr


def test_factors_make_a_mean_over_all_sentences():
    batches = [([], {"x": torch.arange(n).float()}) for n in (5, 1, 2, 4, 4)]
    accumulated = Accumulation(batches, 2, lambda tensors: len(tensors["x"]), "cpu")
    seen = [accumulated.weigh(None, None, (t["x"].mean(), 0, 0))[0] for _, t in accumulated]
    for first in (0, 2):
        together = torch.cat([tensors["x"] for _, tensors in batches[first : first + 2]])
        assert sum(seen[first : first + 2]) / 2 == pytest.approx(together.mean())
    assert seen[4] == batches[4][1]["x"].mean() and len(seen) == 5


def test_factors_see_the_sentences_of_all_workers(monkeypatch):
    """Here one of two workers; the other has 3 and 2 sentences."""
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    other = torch.tensor([3.0, 2.0])
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda counts: counts.add_(other))
    batches = [([], {"x": torch.zeros(n)}) for n in (1, 4)]
    accumulated = Accumulation(batches, 2, lambda tensors: len(tensors["x"]), "cpu")
    assert [accumulated.factor for _ in accumulated] == pytest.approx([2 * 4 / 10, 2 * 6 / 10])


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
