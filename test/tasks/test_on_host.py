"""Batches that ESPnet leaves on the host."""

import pytest
import torch
from espnet2.torch_utils.device_funcs import to_device

from speechlm.models import SpeechLM, SpeechLMConfig
from speechlm.tasks.epochs import EpochIterFactory
from speechlm.tasks.on_host import OnHost, empty_to_share, keep_on_host, taken
from speechlm.tasks.pretrain import PretrainModel

SAMPLES = 16000


class Epochs:
    """An epoch of two batches."""

    def epoch(self, number):
        return [(["a"], {"n": torch.tensor([10 * number + i])}) for i in range(2)]


def batch():
    return {
        "waveforms": torch.randn(2, SAMPLES),
        "sample_lengths": torch.tensor([SAMPLES, SAMPLES - 3000]),
        "labels": torch.randint(4, 50, (2, 49)),
        "units": torch.randint(4, 50, (2, 30)),
        "characters": torch.randint(4, 30, (2, 8)),
        "lines_left_out": torch.tensor(2),
        "impossible_lines": torch.tensor(1),
        "unknown_words": torch.tensor(3),
        "seed": torch.tensor(5),
    }


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("on_host", [False, True])
def test_a_loader_gives_batches_for_the_host_or_tensors(num_workers, on_host):
    loader = EpochIterFactory(Epochs(), num_workers, False, on_host).build_iter(3)
    kind = OnHost if on_host else torch.Tensor
    found = list(loader)
    assert all(isinstance(tensors["n"], kind) and ids == ["a"] for ids, tensors in found)
    assert [int(taken(tensors["n"])) for _, tensors in found] == [30, 31]


def test_espnet_does_not_move_them():
    moved = to_device({"ids": ["a"], **keep_on_host((["a"], batch()))[1]}, "meta")
    assert all(taken(moved[name]).device.type == "cpu" for name in batch())
    assert to_device(batch(), "meta")["units"].device.type == "meta"


def test_a_model_takes_both_to_the_same_end():
    torch.manual_seed(0)
    model = PretrainModel(SpeechLM(SpeechLMConfig.fast_tiny(), 60, 33), with_text=True).train()
    given = batch()
    (loss, stats, weight), others = (
        model(utt_id=["a", "b"], **b) for b in (given, keep_on_host(([], given))[1])
    )
    assert torch.equal(loss, others[0]) and torch.equal(weight, others[2])
    assert all(torch.equal(value, others[1][name]) for name, value in stats.items())
    assert stats["lines_left_out"] == 2 and stats["unknown_words"] == 3
    assert stats["impossible_lines"] >= 1


class Made:
    """A batch whose waveforms are made where a loader can share them."""

    def epoch(self, number):
        return self

    def __len__(self):
        return 3

    def __getitem__(self, index):
        waveforms = empty_to_share(4, 100_000)
        for row in range(4):
            waveforms[row] = 10 * index + row
        return ["a"], {"waveforms": waveforms, "labels": torch.arange(index + 5)}


def test_a_loader_shares_what_is_large_and_sends_what_is_small():
    batches = [tensors for _, tensors in EpochIterFactory(Made(), 2, False, True).build_iter(1)]
    for index, tensors in enumerate(batches):
        waveforms, labels = taken(tensors["waveforms"]), taken(tensors["labels"])
        assert waveforms[:, ::50_000].tolist() == [[10.0 * index + row] * 2 for row in range(4)]
        assert waveforms.is_shared() and not labels.is_shared()
        assert labels.tolist() == list(range(index + 5))
        labels += 1  # it is no view of what may not be written


def test_nothing_is_shared_outside_of_a_loader():
    assert not empty_to_share(2, 3).is_shared()
