"""The front end for GPUs against its definition, `by_blocks`."""

import pytest
import torch
from torch import nn

from speechlm.kernels import channels_last
from speechlm.models import SpeechLMConfig
from speechlm.models.front_end import ConvolutionalFrontEnd

LAYERS = {
    "paper": [(16, 10, 5), *[(16, 3, 2)] * 4, *[(16, 2, 2)] * 2],
    "gaps": [(8, 4, 5), (9, 3, 2), (7, 9, 8), (8, 1, 4)],
}


@pytest.fixture(params=["group", "ignore_padding", "layer"])
def case(request):
    """Function: layers -> front end in float64, waveforms of speech's colour, lengths."""

    def build(layers="paper"):
        torch.manual_seed(0)
        config = SpeechLMConfig.base(
            conv_norm="layer" if request.param == "layer" else "group",
            ignore_padding=request.param == "ignore_padding",
            conv_layers=LAYERS[layers],
        )
        front_end = ConvolutionalFrontEnd(config).double()
        for name, parameter in front_end.named_parameters():
            if parameter.dim() == 1:  # weights and biases of norms
                nn.init.normal_(parameter, 1.0 if name.endswith("weight") else 0.0, 0.3)
        # Low frequencies are the loudest, there is an offset, and the second row is padded.
        waveforms = 0.01 * torch.randn(2, 4001, dtype=torch.float64).cumsum(1) + 0.1
        waveforms[1, 2500:] = 0.0
        return front_end, waveforms, torch.tensor([4001, 2500])

    return build


def run(front_end, waveforms, lengths, dtype=None):
    """Features and gradients of all parameters of the sum of weighted features."""
    with torch.autocast("cpu", dtype or torch.bfloat16, enabled=dtype is not None):
        features = front_end(waveforms, lengths)
    torch.manual_seed(1)
    weight = torch.randn(features.shape, dtype=torch.float64)
    gradients = torch.autograd.grad((features * weight).sum(), list(front_end.parameters()))
    return [features, *gradients]


def distance(found, exact):
    return ((found.double() - exact).norm() / exact.norm()).item()


@pytest.mark.parametrize("layers", LAYERS)
def test_float64_is_the_definition(case, like_a_gpu, layers):
    front_end, waveforms, lengths = case(layers)
    # Only the masked group norm of the definition is in float32 always.
    bound = 1e-5 if front_end.ignore_padding else 1e-10
    expected = run(front_end, waveforms.clone().requires_grad_(), lengths)
    with like_a_gpu():
        found = run(front_end, waveforms, lengths)
    for a, b in zip(found, expected, strict=True):
        assert a.shape == b.shape and distance(a.detach(), b.detach()) < bound


def test_float32_is_as_near_as_the_definition(case, like_a_gpu):
    front_end, waveforms, lengths = case()
    exact = run(front_end, waveforms.clone().requires_grad_(), lengths)
    with like_a_gpu():
        found = run(front_end.float(), waveforms.float(), lengths)
    for number, (a, b) in enumerate(zip(found, exact, strict=True)):
        assert a.dtype == torch.float32
        assert distance(a.detach(), b.detach()) < (2e-6 if number == 0 else 2e-5)


def test_bfloat16_is_as_near_as_the_definition(case, like_a_gpu):
    front_end, waveforms, lengths = case()
    exact = run(front_end, waveforms.clone().requires_grad_(), lengths)
    front_end, waveforms = front_end.float(), waveforms.float()
    plain = run(front_end, waveforms.clone().requires_grad_(), lengths, torch.bfloat16)
    with like_a_gpu():
        found = run(front_end, waveforms, lengths, torch.bfloat16)
    assert found[0].dtype == torch.bfloat16
    assert distance(found[0].detach(), exact[0].detach()) < 0.012
    if front_end.blocks[0].norm != "layer":  # the first convolution loses nothing
        assert distance(found[0], exact[0]) < 0.7 * distance(plain[0], exact[0])
    for a, b in zip(found[1:], exact[1:], strict=True):
        assert distance(a, b) < 0.15 and a.dtype == torch.float32


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_first_product_is_as_good_as_float32(dtype):
    torch.manual_seed(0)
    samples = torch.randn(2, 255, dtype=torch.float64) + 30.0
    windows = samples.unfold(1, 10, 5)
    weight = torch.randn(2, 6, 10, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(2, 6, dtype=torch.float64, requires_grad=True)
    # What a product of this type gives before its own result is rounded
    exact = windows @ weight.mT + bias[:, None]
    rounding = torch.finfo(dtype).eps * exact.abs()
    found = channels_last.precise_product(samples, 5, weight, bias, dtype)
    assert ((found - exact).abs() <= 0.51 * rounding + 1e-3).all()
    d_y = torch.randn(exact.shape).to(dtype)
    wanted = torch.autograd.grad(exact, (weight, bias), d_y.double())
    for a, b in zip(torch.autograd.grad(found, (weight, bias), d_y), wanted, strict=True):
        assert distance(a, b) < 4 * torch.finfo(dtype).eps


@pytest.mark.parametrize("lengths", [None, [1300, 700, 0]])
def test_statistics_of_windows(lengths):
    """Over several chunks; a row without any frame counts as one of one frame."""
    torch.manual_seed(0)
    windows = (torch.randn(3, 6600, dtype=torch.float64).cumsum(1) + 5.0).unfold(1, 10, 5)[:, :1300]
    given = None if lengths is None else torch.tensor(lengths)
    mean, covariance = channels_last.window_statistics(windows, given)
    for row, length in enumerate(lengths or [1300] * 3):
        seen = windows[row, : max(1, length)]
        torch.testing.assert_close(mean[row, 0], seen.mean(0))
        expected = torch.cov(seen.T, correction=0) if length else torch.zeros_like(covariance[row])
        torch.testing.assert_close(covariance[row], expected)


def test_all_convolutions_lie_with_channels_last(case, monkeypatch, like_a_gpu):
    """Nothing is copied between layouts, and no activation is in float32."""
    front_end, waveforms, lengths = case()
    seen, convolution, gelu = [], torch.nn.functional.conv2d, torch.nn.functional.gelu

    def spy(images, weight, **options):
        assert images.is_contiguous(memory_format=torch.channels_last)
        assert weight.is_contiguous(memory_format=torch.channels_last)
        seen.append(images.dtype)
        return convolution(images, weight, **options)

    def activation(x):
        assert x.is_contiguous()
        seen.append(x.dtype)
        return gelu(x)

    monkeypatch.setattr(channels_last.F, "conv2d", spy)
    monkeypatch.setattr(channels_last.F, "gelu", activation)
    with like_a_gpu(), torch.autocast("cpu", torch.bfloat16):
        front_end.float()(waveforms.float(), lengths)
    assert seen == [torch.bfloat16] * 13  # 7 GELUs, 6 convolutions


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_weights_as_images(dtype):
    """Of two shapes, in an order that is not theirs."""
    torch.manual_seed(0)
    weights = [torch.randn(4, 3, taps, requires_grad=True) for taps in (2, 3, 2)]
    images = channels_last.images_of(weights, dtype)
    for image, weight in zip(images, weights, strict=True):
        assert image.is_contiguous(memory_format=torch.channels_last)
        assert torch.equal(image.squeeze(2), weight.to(dtype))
    scale = [torch.randn(4, 3, 1, taps).to(dtype) for taps in (2, 3, 2)]
    gradients = torch.autograd.grad(
        torch.stack([(x * y).sum() for x, y in zip(images, scale, strict=True)]).sum(), weights
    )
    for gradient, y in zip(gradients, scale, strict=True):
        assert gradient.is_contiguous() and gradient.dtype == torch.float32
        assert torch.equal(gradient, y.squeeze(2).float())
    assert channels_last.images_of([], dtype) == ()
