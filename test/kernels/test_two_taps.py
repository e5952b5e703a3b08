import pytest
import torch

from speechlm.kernels.two_taps import TwoTaps, two_taps_gradient


@pytest.mark.parametrize("count", [1, 2, 3, 8, 9])
def test_equals_four_products(count):
    torch.manual_seed(count)
    a, b = (torch.randn(5, 4, dtype=torch.float64, requires_grad=True) for _ in range(2))
    x = torch.randn(2 * count + 2, 4, dtype=torch.float64)[::2]  # rows apart in memory
    expected = x[:-1] @ a.T + x[1:] @ b.T
    torch.testing.assert_close(TwoTaps(a.detach(), b.detach())(x), expected.detach())
    d_y = torch.randn_like(expected)
    for ours, theirs in zip(
        two_taps_gradient(x, d_y), torch.autograd.grad(expected, (a, b), d_y), strict=True
    ):
        torch.testing.assert_close(ours, theirs)
