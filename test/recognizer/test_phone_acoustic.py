"""The frame classifier: lengths, alignment of its two outputs with the frames, learning."""

import pytest
import torch

from speechlm.recognizer.phone_acoustic import PhoneAcousticConfig, PhoneAcousticModel

CONFIG = PhoneAcousticConfig(
    n_classes=5, n_states=7, input_dim=4, width=16, bottleneck=8, dilations=(1, 2), dropout=0.0
)


@pytest.mark.parametrize("frames", [1, 2, 3, 4, 29, 30, 31])
def test_output_lengths(frames):
    classes, states = PhoneAcousticModel(CONFIG).eval()(torch.randn(2, frames, 4))
    steps = -(-frames // 3)
    assert classes.shape == (2, steps, 5)
    assert states.shape == (2, 3 * steps, 7)


def test_even_kernel_is_refused():
    with pytest.raises(ValueError, match="odd"):
        PhoneAcousticModel(PhoneAcousticConfig(5, 7, kernel=6))


def test_step_u_is_centred_on_frame_3u_plus_1():
    torch.manual_seed(0)
    config = PhoneAcousticConfig(5, 7, input_dim=4, width=8, bottleneck=4, dilations=())
    model = PhoneAcousticModel(config).eval()
    x = torch.randn(1, 30, 4, requires_grad=True)
    model(x)[0][0, 4].sum().backward()
    seen = x.grad.abs().sum(-1)[0].nonzero().flatten().tolist()
    assert seen == list(range(13 - 3, 13 + 4))


def test_it_learns_states_and_classes_of_toy_frames():
    torch.manual_seed(0)
    model = PhoneAcousticModel(CONFIG)
    optimiser = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(150):
        states = torch.randint(0, 4, (8, 10)).repeat_interleave(6, 1)
        x = torch.nn.functional.one_hot(states, 4).float() + 0.1 * torch.randn(8, 60, 4)
        classes, frames = model(x)
        loss = torch.nn.functional.cross_entropy(frames.flatten(0, 1), states.flatten())
        loss = loss + torch.nn.functional.cross_entropy(
            classes.flatten(0, 1), states[:, 1::3].flatten()
        )
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    model.eval()
    classes, frames = model(x)
    assert (frames.argmax(-1) == states).float().mean() > 0.97
    assert (classes.argmax(-1) == states[:, 1::3]).float().mean() > 0.97
