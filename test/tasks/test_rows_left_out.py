"""The rows of a table that are used, of which only the others are in memory."""

import numpy as np
import pytest

from speechlm.tasks.rows_left_out import RowsUsed


@pytest.mark.parametrize("others", [[], [0], [9], [0, 1, 2], [3, 4, 8], [1, 3, 5, 7, 9], range(10)])
def test_rows_are_those_that_are_not_left_out(others):
    used = [row for row in range(10) if row not in others]
    rows = RowsUsed(10, np.array(others, np.int64))
    assert len(rows) == len(used)
    assert [int(rows[i]) for i in range(len(used))] == rows[:].tolist() == used
    assert rows[1:3].tolist() == used[1:3] and rows[np.array([], int)].tolist() == []
    assert not used or (rows[-1] == used[-1] and rows[np.array([0])].tolist() == used[:1])
    with pytest.raises(IndexError):
        rows[len(used)]
    column = np.arange(10) * 7
    parts = [rows.of(column[start : start + 4], start) for start in (0, 4, 8)]
    assert np.concatenate(parts).tolist() == [7 * row for row in used]
