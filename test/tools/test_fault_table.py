"""The table of the fault campaign: a row stays one row, whatever a run has said."""

import importlib

import pytest


@pytest.mark.parametrize("said", ["a | b", "a|b", "two\nlines", "a || b\n"])
def test_a_row_is_one_line_of_five_bars(root, monkeypatch, said):
    monkeypatch.syspath_prepend(str(root / "tools"))
    table = importlib.import_module("faults.table")
    row = table.Outcome("kill", "stage 7", said, "equal", True).row()
    assert "\n" not in row and row.replace("\\|", "").count("|") == 5
