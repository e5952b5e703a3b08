"""Muon for the matrices between states and AdamW for all else, as one optimiser of ESPnet's.

Importing this module makes `--optim muon` known to ESPnet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from espnet2.tasks.abs_task import optim_classes
from torch import Tensor, nn

_MATRICES = tuple(f"{name}.weight" for name in ("proj", "fc1", "fc2", "first", "second"))
"""How the names of the matrices end that map states, or log-mel frames, to states."""


class MuonAndAdamW(torch.optim.Optimizer):
    """torch's Muon and AdamW with one learning rate.

    Muon's steps are scaled to the size that AdamW's have ("match_rms_adamw"), so that a rate and a
    weight decay that suit AdamW suit both. Source: Liu et al. 2025, Muon is Scalable for LLM
    Training.

    Args:
        params: groups; those with `muon: True` hold matrices for Muon.
        lr, weight_decay: of both.
        momentum, ns_steps: of Muon; steps of its Newton-Schulz iteration, most of its cost.
        betas, eps: of AdamW.

    Raises:
        ValueError: momentum, ns_steps or betas that cannot be.
    """

    def __init__(
        self,
        params: Iterable[dict[str, Any]],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.98),
        eps: float = 1e-6,
        weight_decay: float = 0.01,
        momentum: float = 0.95,
        ns_steps: int = 5,
    ) -> None:
        groups = [{"muon": False, **group} for group in params if group["params"]]
        if not (isinstance(ns_steps, int) and ns_steps >= 1 and 0 <= momentum < 1):
            raise ValueError(
                "ns_steps of 1 or more and a momentum of 0 to below 1 expected, got "
                f"{ns_steps!r} and {momentum!r}"
            )
        if not (isinstance(betas, list | tuple) and len(betas) == 2):
            raise ValueError(f"two betas expected, such as [0.9, 0.98], got {betas!r}")
        super().__init__(groups, {"lr": lr, "weight_decay": weight_decay})
        matrices = [group for group in self.param_groups if group["muon"]]
        others = [group for group in self.param_groups if not group["muon"]]
        self._parts: list[torch.optim.Optimizer] = []
        if matrices:
            self._parts.append(
                torch.optim.Muon(
                    matrices,
                    lr,
                    weight_decay,
                    momentum,
                    ns_steps=ns_steps,
                    adjust_lr_fn="match_rms_adamw",
                )
            )
        if others:
            fused = others[0]["params"][0].is_cuda or None
            self._parts.append(
                torch.optim.AdamW(others, lr, (betas[0], betas[1]), eps, weight_decay, fused=fused)
            )
        self._share()

    def _share(self) -> None:
        """The parts work on this optimiser's groups and state, which schedules and files know."""
        groups = {id(g["params"][0]): g for g in self.param_groups if g["params"]}
        for part in self._parts:
            part.param_groups = [
                _merged(groups[id(group["params"][0])], group) for group in part.param_groups
            ]
            part.state = self.state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Of a copy, or of a file: the parts are copies, too, and share again."""
        super().__setstate__(state)
        self._share()

    def __getstate__(self) -> dict[str, Any]:
        """As any optimiser's, with the parts."""
        return {**super().__getstate__(), "_parts": self._parts}

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Only while it is made.

        Raises:
            ValueError: later, as neither part would know of the group.
        """
        if hasattr(self, "_parts"):
            raise ValueError("all groups are expected when the optimiser is made, one was added")
        super().add_param_group(param_group)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """As any optimiser's."""
        super().load_state_dict(state_dict)
        self._share()

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One update of all parameters."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for part in self._parts:
            part.step()
        return loss


def _merged(group: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """The group, with the keys that it lacks."""
    for name, value in more.items():
        group.setdefault(name, value)
    return group


def muon_groups(model: nn.Module) -> list[dict[str, Any]]:
    """A model's parameters as groups for `MuonAndAdamW`.

    Muon has the matrices of the layers and of the log-mel front end; what scores units and
    characters, embeddings and vectors are AdamW's.
    """
    groups: dict[bool, list[Tensor]] = {True: [], False: []}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            groups[parameter.dim() == 2 and name.endswith(_MATRICES)].append(parameter)
    return [{"params": params, "muon": muon} for muon, params in groups.items() if params]


optim_classes["muon"] = MuonAndAdamW
