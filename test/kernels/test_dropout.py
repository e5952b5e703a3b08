import torch

from speechlm.kernels.dropout import KeepMasks, dropout


def test_share_scale_and_gradient():
    torch.manual_seed(0)
    x = torch.ones(1000, 301, requires_grad=True)
    y = dropout(x, 0.1, training=True)
    kept = y.detach() != 0
    assert abs(kept.float().mean().item() - 0.9) < 0.002
    torch.testing.assert_close(
        y.detach()[kept], torch.full((int(kept.sum()),), 1 / 0.9), rtol=1e-4, atol=0
    )
    y.sum().backward()
    assert torch.equal(x.grad, y.detach())


def test_nothing_happens_in_evaluation_or_at_zero():
    x = torch.randn(5, 5)
    assert dropout(x, 0.5, training=False) is x
    assert dropout(x, 0.0, training=True) is x
    assert not dropout(x, 1.0, training=True).any()


def test_governed_by_torch_s_seed():
    x = torch.ones(400)
    torch.manual_seed(1)
    first, second = dropout(x, 0.5, True), dropout(x, 0.5, True)
    torch.manual_seed(1)
    assert torch.equal(first, dropout(x, 0.5, True))
    assert not torch.equal(first, second)


def test_masks_of_any_size_are_independent_between_rows():
    masks = KeepMasks(0.5, seed=9)
    mask = masks.draw(torch.Size((3, 4001)), torch.float32)
    assert set(mask.unique().tolist()) == {0.0, 1.0}
    agreement = (mask[0] == mask[1]).float().mean()
    assert 0.45 < agreement < 0.55


def test_masks_repeat_in_their_order():
    masks = KeepMasks(0.3, seed=4)
    drawn = [masks.draw(torch.Size(size), torch.float32) for size in ((2, 13), (1,), (5, 8))]
    for _ in range(2):
        again = list(masks.repeat(torch.float32))
        assert all(torch.equal(a, b) for a, b in zip(drawn, again, strict=True))


def test_bfloat16_stays_bfloat16():
    y = dropout(torch.ones(100, dtype=torch.bfloat16), 0.1, True)
    assert y.dtype == torch.bfloat16
