"""What the configurations of models have in common: checked fields, unknown keys refused."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Self

from speechlm.conventions import nearest


@dataclasses.dataclass(frozen=True)
class Options:
    """Base of a frozen dataclass of integers (sizes), floats (shares, weights) and switches."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if field.type == "int" and not (number and isinstance(value, int) and value >= 1):
                raise ValueError(f"{field.name}: expected a positive integer, got {value!r}")
            if field.type == "float" and not (number and value >= 0):
                raise ValueError(f"{field.name}: expected a number not below 0, got {value!r}")
            if field.type == "float":
                self.check_share(field.name, value)
            if field.type == "bool" and not isinstance(value, bool):
                raise ValueError(f"{field.name}: expected true or false, got {value!r}")

    def check_share(self, name: str, value: float) -> None:
        """Refuse a dropout or smoothing that leaves nothing over.

        Raises:
            ValueError: it does.
        """
        if name.endswith(("dropout", "smoothing", "layerdrop")) and value >= 1:
            raise ValueError(f"{name}: expected a number in [0, 1), got {value!r}")

    def check_multiple(self, name: str, divisor: str) -> None:
        """Make sure that one field is a multiple of another.

        Raises:
            ValueError: it is not.
        """
        if getattr(self, name) % getattr(self, divisor):
            raise ValueError(
                f"{name} ({getattr(self, name)}) must be a multiple of {divisor} "
                f"({getattr(self, divisor)})"
            )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The options from their fields; what is left out keeps its default.

        Raises:
            ValueError: a key that is no field (the nearest field is named), or a wrong value.
        """
        known = [field.name for field in dataclasses.fields(cls)]
        for key in values:
            if key not in known:
                near = nearest(key, known)
                raise ValueError(f'unknown model option "{key}"; did you mean "{near}"?')
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain numbers, fit for YAML or JSON."""
        return dataclasses.asdict(self)
