"""Learning rates over a whole training."""

import argparse
import copy

import pytest
import torch

from speechlm.tasks.resuming import restore_optimizer
from speechlm.tasks.schedulers import LinearDecayLR, complete_schedule

from espnet2.schedulers.tristage_lr import TristageLR  # isort: skip


def optimizer(rate=2.0):
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=rate)


def rates(schedule, steps):
    found = []
    for _ in range(steps):
        found.append(schedule.optimizer.param_groups[0]["lr"])
        schedule.optimizer.step()
        schedule.step()
    return found


def test_linear_decay():
    found = rates(LinearDecayLR(optimizer(), warmup_steps=4, max_steps=10), 12)
    assert found == pytest.approx([0.5, 1.0, 1.5, 2.0, 5 / 3, 4 / 3, 1, 2 / 3, 1 / 3, 0, 0, 0])


def test_linear_decay_goes_on_after_resuming():
    whole = rates(LinearDecayLR(optimizer(), 4, 10), 10)
    first = LinearDecayLR(optimizer(), 4, 10)
    rates(first, 6)
    second = LinearDecayLR(optimizer(), 4, 10)
    second.optimizer.load_state_dict(first.optimizer.state_dict())
    second.load_state_dict(first.state_dict())
    assert rates(second, 4) == whole[6:]


def test_linear_decay_refuses_a_warm_up_without_end():
    with pytest.raises(ValueError, match=r"warmup_steps \(10\) must be .* below max_steps \(10\)"):
        LinearDecayLR(optimizer(), 10, 10)


def test_tri_stage():
    found = rates(TristageLR(optimizer(), max_steps=1000), 1000)
    assert found[0] < 0.05
    assert found[50] == pytest.approx(1.03, abs=0.02)  # middle of the warm-up
    assert found[100:499] == [2.0] * 399
    assert found[749] == pytest.approx(0.2, rel=0.02)  # half of the decay to 0.01 x 2
    assert found[-1] == pytest.approx(0.02, rel=0.02)


def arguments(**changes):
    values = {
        "accum_grad": 2,
        "num_iters_per_epoch": 10,
        "max_epoch": 6,
        "scheduler": "linear_decay",
        "scheduler_conf": {},
    }
    return argparse.Namespace(**(values | changes))


def test_length_of_the_schedule_follows_from_the_run():
    args = arguments()
    complete_schedule(args)
    assert args.scheduler_conf == {"max_steps": 30, "warmup_steps": 2}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_iters_per_epoch": 9}, "must be a multiple of accum_grad"),
        ({"num_iters_per_epoch": None}, "must be a multiple of accum_grad"),
        ({"num_iters_per_epoch": None, "accum_grad": 1}, "the length of schedule"),
    ],
)
def test_runs_of_unknown_length(changes, message):
    with pytest.raises(ValueError, match=message):
        complete_schedule(arguments(**changes))


@pytest.mark.parametrize("kind", ["linear", "tristage"])
def test_a_longer_training_has_the_longer_schedule_from_where_it_is(kind, caplog):
    def made(steps, rate=2.0):
        if kind == "linear":
            return LinearDecayLR(optimizer(rate), 2, steps)
        return TristageLR(optimizer(rate), max_steps=steps)

    first = made(6)
    rates(first, 6)
    states = copy.deepcopy([first.optimizer.state_dict(), first.state_dict()])
    for changes in ({}, {"rate": 3.0}):
        longer = made(12, **changes)
        restore_optimizer(longer.optimizer, longer, *copy.deepcopy(states))
        assert rates(longer, 6) == rates(made(12, **changes), 12)[6:]
    assert "max_steps: 6, now 12" in caplog.text and "initial_lr: 2.0, now 3.0" in caplog.text
    caplog.clear()
    same = made(6)
    restore_optimizer(same.optimizer, same, *copy.deepcopy(states))
    assert same.state_dict() == states[1] and same.optimizer.state_dict() == states[0]
    assert not caplog.text


def test_a_constant_rate_is_that_of_the_options():
    first, second = optimizer(2.0), optimizer(0.5)
    restore_optimizer(second, None, first.state_dict(), None)
    assert second.param_groups[0]["lr"] == 0.5


def test_updates_behind_the_end_of_the_schedule_are_told(caplog):
    complete_schedule(arguments(scheduler_conf={"max_steps": 20, "warmup_steps": 2}))
    assert "of 30 updates those from 20 on change nothing" in caplog.text
