"""Two checkpoints are kept; a damaged one is noticed, and the one before takes its place."""

import random
import shutil
import struct
from pathlib import Path

import pytest
import regression
import torch

from speechlm.checkpoints.trainer_files import (
    CHECKPOINT,
    DAMAGED,
    PREVIOUS,
    choose_checkpoint,
    last_epoch,
    load_weights_only,
)


@pytest.fixture(scope="module")
def states(tmp_path_factory) -> dict[str, bytes]:
    """A newer and an older checkpoint."""
    folder = tmp_path_factory.mktemp("states")
    for name, epoch in ((CHECKPOINT, 2), (PREVIOUS, 1)):
        state = {"model": {"a": torch.arange(30.0) + epoch}, "reporter": {"epoch": epoch}}
        torch.save(state, folder / name)
    return {name: (folder / name).read_bytes() for name in (CHECKPOINT, PREVIOUS)}


def flipped(content: bytes, place: int, bit: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 1 << bit]) + content[place + 1 :]


def test_every_flipped_bit_is_found_or_changes_nothing(states, tmp_path):
    path, content = tmp_path / "a.pth", states[CHECKPOINT]
    good, found, draw = regression.plain(torch.load(_written(path, content))), 0, random.Random(3)
    for place in range(0, len(content), 5):
        _written(path, flipped(content, place, draw.randrange(8)))
        try:
            assert regression.plain(load_weights_only(path)) == good, place
        except ValueError:
            found += 1
    assert found > len(content) / 5 / 3  # the rest: paddings, dates, versions


def _written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


DAMAGES = {
    "flipped": lambda content: flipped(content, content.index(struct.pack("<f", 7.0)), 0),
    "cut": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
    "zeros": lambda content: bytes(len(content)),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_the_older_one_takes_the_place_of_a_damaged_one(states, tmp_path, caplog, damage):
    _written(tmp_path / CHECKPOINT, DAMAGES[damage](states[CHECKPOINT]))
    _written(tmp_path / PREVIOUS, states[PREVIOUS])
    choose_checkpoint(tmp_path)
    assert last_epoch(tmp_path) == 1
    assert f"{tmp_path / CHECKPOINT} " in caplog.text and "the checkpoint before it" in caplog.text
    assert (tmp_path / DAMAGED).is_file() and not (tmp_path / PREVIOUS).exists()


def test_a_kill_between_two_renames_leaves_the_older_one(states, tmp_path):
    _written(tmp_path / PREVIOUS, states[PREVIOUS])
    choose_checkpoint(tmp_path)
    assert last_epoch(tmp_path) == 1
    assert [path.name for path in tmp_path.iterdir()] == [CHECKPOINT]


def test_two_damaged_ones_are_an_error_that_names_both(states, tmp_path):
    for name, content in states.items():
        _written(tmp_path / name, DAMAGES["cut"](content))
    with pytest.raises(ValueError) as error:
        choose_checkpoint(tmp_path)
    assert all(f"{tmp_path / name} is cut off" in str(error.value) for name in states)
    assert f"remove {tmp_path}/checkpoint*.pth to train from the beginning" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_training_goes_on_from_the_older_one_to_the_same_bits(tmp_path):
    """Also if the only damage is one bit of a weight."""
    regression.train(tmp_path / "whole")
    folder = tmp_path / "damaged"
    shutil.copytree(tmp_path / "whole", folder, symlinks=True)
    content = (folder / CHECKPOINT).read_bytes()
    weights = load_weights_only(folder / CHECKPOINT)["model"]["map.weight"].numpy().tobytes()
    (folder / CHECKPOINT).write_bytes(flipped(content, content.index(weights), 0))
    regression.train(folder)
    (folder / DAMAGED).unlink()
    assert regression.contents(folder) == regression.contents(tmp_path / "whole")
