"""How well a text-to-unit model does on held-out pairs, beside what needs no model.

P phones, U units of an utterance.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from speechlm.conventions import EOS
from speechlm.data.archives import read_unit_info
from speechlm.data.monophones import N_PHONES
from speechlm.models.text_to_unit import TextToUnit
from speechlm.models.unit_generator import to_durations
from speechlm.score.error_rate import ErrorCounts
from speechlm.tokenizers.aligned_units import read_pairs


@dataclass
class TextToUnitReport:
    """Sums over the held-out utterances."""

    utterances: int = 0
    phones: int = 0
    units: int = 0
    correct: int = 0
    """Units that the model gives the highest score, when it is told the durations."""
    correct_by_phone: int = 0
    """The same when each phone has the unit that it has most often in training."""
    duration_error: int = 0
    """Sum over phones of |predicted - true| units."""
    duration_error_by_phone: float = 0.0
    """The same when each phone lasts its median in training."""
    length_error: float = 0.0
    """Sum over utterances of |predicted - true| / true units."""
    runs: ErrorCounts = field(default_factory=ErrorCounts)
    """Edits between generated and true units, repeats merged."""

    def table(self) -> str:
        """Markdown."""
        units, phones = max(1, self.units), max(1, self.phones)
        rows = [
            ("", "model", "by phone alone"),
            ("---", "---:", "---:"),
            (
                "unit accuracy, true durations",
                f"{self.correct / units:.1%}",
                f"{self.correct_by_phone / units:.1%}",
            ),
            (
                "duration error (mean absolute, units of a phone)",
                f"{self.duration_error / phones:.3f}",
                f"{self.duration_error_by_phone / phones:.3f}",
            ),
            (
                "length error (mean absolute, of an utterance)",
                f"{self.length_error / max(1, self.utterances):.1%}",
                "",
            ),
            (
                "edits between generated and true units, repeats merged",
                f"{self.runs.rate:.1f}%",
                "",
            ),
        ]
        head = (
            f"Held-out pairs: {self.utterances} utterances, {self.phones} phones, "
            f"{self.units} units.\n\n"
        )
        return head + "".join(f"| {' | '.join(row)} |\n" for row in rows)


def evaluate(model: TextToUnit, pairs: Path) -> TextToUnitReport:
    """Compare the model, in evaluation mode, with the `valid` part of a folder of pairs."""
    usual_unit, usual_duration = _by_phone(pairs)
    report = TextToUnitReport()
    device = next(model.parameters()).device
    for pair in read_pairs(pairs / "valid"):
        phones, durations, units = pair.phones, pair.durations, pair.units
        source = torch.tensor([*phones.tolist(), EOS], device=device)
        given = torch.tensor([[*durations.tolist(), 0]], device=device)
        with torch.no_grad():
            predicted = model.predict(source[None], given)
        best = predicted.logits[0, : len(units), : model.n_units].argmax(-1).cpu().numpy()
        generated = model.generate([source])[0].cpu().numpy()
        found = to_durations(predicted.log_durations)[0, :-1].cpu().numpy()
        report.utterances += 1
        report.phones += len(phones)
        report.units += len(units)
        report.correct += int((best == units).sum())
        report.correct_by_phone += int((np.repeat(usual_unit[phones], durations) == units).sum())
        report.duration_error += int(np.abs(found - durations).sum())
        report.duration_error_by_phone += float(np.abs(usual_duration[phones] - durations).sum())
        report.length_error += abs(len(generated) - len(units)) / len(units)
        report.runs.add(_runs(units), _runs(generated))
    return report


def _by_phone(pairs: Path) -> tuple[np.ndarray, np.ndarray]:
    """Most frequent unit and median duration of each phone in training: (N_PHONES,) each."""
    counts = np.zeros((N_PHONES, len(read_unit_info(pairs)[1])), np.int64)
    lengths: list[list[int]] = [[] for _ in range(N_PHONES)]
    for pair in read_pairs(pairs / "train"):
        np.add.at(counts, (np.repeat(pair.phones, pair.durations), pair.units), 1)
        for phone, duration in zip(pair.phones.tolist(), pair.durations.tolist(), strict=True):
            lengths[phone].append(duration)
    every = [length for row in lengths for length in row]
    return counts.argmax(1), np.array([np.median(row or every) for row in lengths])


def _runs(units: np.ndarray) -> list[str]:
    """Units without repeats, as strings."""
    return [str(unit) for unit in units[np.diff(units, prepend=-1) != 0]]
