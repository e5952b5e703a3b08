"""What `extract_features` takes and refuses."""

import pytest
import torch

from speechlm.models.inputs import all_to_device, pack, unpack

SAMPLES = torch.randn(2, 4000, generator=torch.Generator().manual_seed(0)) * 0.1


@pytest.mark.parametrize(
    ("waveforms", "lengths", "message"),
    [
        (SAMPLES.numpy(), None, "a torch.Tensor expected, got ndarray"),
        ((SAMPLES * 32767).short(), None, "got torch.int16; divide 16-bit integers by 32768"),
        (SAMPLES.to("meta"), None, "waveforms are on meta, the model is on cpu"),
        (SAMPLES[:0], None, "at least one utterance expected"),
        (SAMPLES, [4000], r"expected 2 numbers.*shape \(1,\)"),
        (SAMPLES, torch.tensor([1.0, 0.5]), "lengths: integers.*got torch.float32"),
        (SAMPLES, torch.tensor([True, False]), "got torch.bool"),
        (SAMPLES, [4001, 4000], r"from 400 \(one frame\) to 4000.*got 4001 in row 0;"),
        (SAMPLES, [None, 4000], r"lengths: integers, .* expected; got \[None, 4000\]"),
        (SAMPLES, ["a", "b"], r"lengths: integers, .* expected; got \['a', 'b'\]"),
        (SAMPLES, "4000", "lengths: integers, .* expected; got 4000"),
        (SAMPLES, [[4000], [1, 2]], r"expected; got \[\[4000\], \[1, 2\]\]"),
        (SAMPLES, [2**70, 4000], "expected; got .1180591620717411303424, 4000"),
        (SAMPLES, {"a": 1}, r"expected; got \{'a': 1\}"),
        (SAMPLES, 4000, r"expected 2 numbers.*shape \(\)"),
        (SAMPLES, [4000, 0], "got 0 in row 1"),
        (SAMPLES, [399, -1], "got 399 in row 0, -1 in row 1"),
    ],
)
@pytest.mark.parametrize("normalize_waveform", [False, True])
def test_what_cannot_be_used_is_explained(
    small_model, waveforms, lengths, message, normalize_waveform
):
    model = small_model(normalize_waveform=normalize_waveform)
    with pytest.raises(ValueError, match=message):
        model.extract_features(waveforms, lengths)


@pytest.mark.parametrize("weights", [torch.float32, torch.float64, torch.bfloat16])
def test_waveforms_of_any_floating_point_type(small_model, weights):
    model = small_model().to(weights)
    expected, _ = model.extract_features(SAMPLES.to(weights), [4000, 2500])
    assert expected.dtype == weights and expected.isfinite().all()
    for given in (torch.float32, torch.float64):
        features, frames = model.extract_features(SAMPLES.to(given), [4000, 2500])
        assert features.dtype == weights and frames.dtype == torch.int64
        torch.testing.assert_close(features.double(), expected.double(), atol=1e-5, rtol=1e-5)


def test_every_module_keeps_its_own_mode(small_model):
    model = small_model(input_dropout=0.9).train()
    model.feature_extractor.eval()
    modes = [module.training for module in model.modules()]
    first, second = (model.extract_features(SAMPLES)[0] for _ in range(2))
    assert torch.equal(first, second)
    assert [module.training for module in model.modules()] == modes and len(set(modes)) == 2


def test_tensors_that_go_to_a_device_together():
    tensors = [
        torch.tensor([[True, False, True]]),
        torch.arange(20).view(4, 5)[:, ::2],
        torch.zeros(0, dtype=torch.long),
        torch.tensor(7),
        torch.tensor([1.5, -2.0, 3.0]),
    ]
    found = unpack(pack(tensors), tensors)
    for a, b in zip(found, tensors, strict=True):
        assert torch.equal(a, b) and a.dtype == b.dtype
    one, none, other = all_to_device(torch.empty(1, device="meta"), tensors[0], None, tensors[1])
    assert none is None and one.device.type == "meta"
    assert (one.dtype, one.shape, other.dtype, other.shape) == (
        *(torch.bool, (1, 3)),
        *(torch.int64, (4, 3)),
    )
