"""Muon and AdamW as one optimiser: torch's own updates, one rate, states that come back."""

import argparse
import copy

import pytest
import torch
from torch import nn

from speechlm.models import SpeechLM, SpeechLMConfig
from speechlm.tasks.optimizers import MuonAndAdamW, muon_groups
from speechlm.tasks.pretrain import SpeechLMPretrainTask

CONF = {"lr": 0.01, "betas": [0.9, 0.95], "eps": 1e-6, "weight_decay": 0.02}


class Network(nn.Module):
    """A matrix of a layer, another matrix, and vectors."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.ModuleDict({"out_proj": nn.Linear(6, 4)})])
        self.score = nn.Linear(4, 3)

    def forward(self, x):
        return self.score(self.layers[0]["out_proj"](x).tanh()).square().mean()


def make(conf=CONF):
    torch.manual_seed(3)
    network = Network()
    return network, MuonAndAdamW(muon_groups(nn.ModuleDict({"m": network})), **conf)


def update(network, optimizer, seed):
    torch.manual_seed(seed)
    optimizer.zero_grad()
    network(torch.randn(5, 6)).backward()
    optimizer.step()


def test_each_part_makes_the_update_of_torchs_own():
    network, optimizer = make()
    twin = copy.deepcopy(network)
    matrix = twin.layers[0]["out_proj"].weight
    others = [p for p in twin.parameters() if p is not matrix]
    muon = torch.optim.Muon([matrix], 0.01, 0.02, 0.95, adjust_lr_fn="match_rms_adamw")
    adamw = torch.optim.AdamW(others, 0.01, (0.9, 0.95), 1e-6, 0.02)
    for seed in range(4):
        update(network, optimizer, seed)
        for part in (muon, adamw):
            part.zero_grad()
        torch.manual_seed(seed)
        twin(torch.randn(5, 6)).backward()
        for part in (muon, adamw):
            part.step()
    for ours, theirs in zip(network.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_a_schedule_moves_the_rate_of_both_parts():
    network, optimizer = make()
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda update: 0.0)
    before = [p.clone() for p in network.parameters()]
    update(network, optimizer, 1)
    assert all(group["lr"] == 0.0 for group in optimizer.param_groups)
    assert all(torch.equal(p, b) for p, b in zip(network.parameters(), before, strict=True))
    schedule.step()


def test_a_run_that_was_stopped_goes_on_bit_for_bit(tmp_path):
    network, optimizer = make()
    for seed in range(3):
        update(network, optimizer, seed)
    torch.save([network.state_dict(), optimizer.state_dict()], tmp_path / "state.pth")
    again, restored = make()
    weights, state = torch.load(tmp_path / "state.pth", weights_only=True)
    again.load_state_dict(weights)
    restored.load_state_dict(state)
    for seed in range(3, 6):
        update(network, optimizer, seed)
        update(again, restored, seed)
    for ours, theirs in zip(network.parameters(), again.parameters(), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("size", ["tiny", "fast_tiny"])
def test_muon_has_the_matrices_between_states_alone(size):
    model = SpeechLM(getattr(SpeechLMConfig, size)(), 10, 33)
    muon, adamw = muon_groups(model)
    assert muon["muon"] and not adamw["muon"]
    heads = {*model.final_proj_list, model.unit_encoder_ctc_head.output_layer}
    linear = [m for m in model.modules() if isinstance(m, nn.Linear) and m not in heads]
    assert set(muon["params"]) == {layer.weight for layer in linear} and len(linear) >= 18
    assert len(muon["params"]) + len(adamw["params"]) == len(list(model.parameters()))


def test_copies_are_whole_and_groups_complete():
    network, optimizer = make()
    update(network, optimizer, 1)
    both = copy.deepcopy((network, optimizer))
    update(network, optimizer, 2)
    update(*both, 2)
    for mine, other in zip(network.parameters(), both[0].parameters(), strict=True):
        assert torch.equal(mine, other) and mine is not other
    with pytest.raises(ValueError, match="all groups are expected when"):
        optimizer.add_param_group({"params": [nn.Parameter(torch.ones(2))]})


@pytest.mark.parametrize("frozen", ["fc1.weight", "fc1.bias"])
def test_a_kind_of_parameters_may_be_frozen(frozen):
    model = nn.ModuleDict({"fc1": nn.Linear(4, 4)})
    model.get_parameter(frozen).requires_grad = False
    optimizer = MuonAndAdamW(muon_groups(model), lr=0.01)
    before = {name: p.clone() for name, p in model.named_parameters()}
    model["fc1"](torch.ones(2, 4)).square().sum().backward()
    optimizer.step()
    moved = [name for name, p in model.named_parameters() if not torch.equal(p, before[name])]
    assert moved == [name for name in before if name != frozen]


@pytest.mark.parametrize(
    "wrong", [{"betas": 0.9}, {"betas": [0.9]}, {"ns_steps": 0}, {"momentum": 2}]
)
def test_values_that_cannot_be(wrong):
    with pytest.raises(ValueError, match="expected, "):
        MuonAndAdamW(muon_groups(nn.ModuleDict({"fc1": nn.Linear(4, 4)})), **wrong)


@pytest.mark.parametrize(
    "changes, fused",
    [
        ({}, True),
        ({"optim": "adam"}, True),
        ({"ngpu": 0}, None),
        ({"optim": "sgd"}, None),
        ({"optim_conf": {"fused": False}}, False),
        ({"optim_conf": {"foreach": True}}, None),
    ],
)
def test_adam_is_one_kernel_on_gpus(changes, fused):
    options = {"optim": "adamw", "optim_conf": {"lr": 0.1}, "ngpu": 1, "accum_grad": 1}
    options |= {"num_iters_per_epoch": None, "scheduler": None, "exclude_weight_decay": False}
    args = argparse.Namespace(**{**options, **changes, "sharded_ddp": False})
    kept = dict(args.optim_conf)
    (optimizer,) = SpeechLMPretrainTask.build_optimizers(args, nn.Linear(4, 4))
    assert optimizer.defaults.get("fused") is fused and args.optim_conf == kept
