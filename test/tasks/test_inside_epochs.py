"""Checkpoints inside an epoch: whenever a training stops, it goes on to the same bits."""

import os
import random
import signal
from pathlib import Path

import pytest
import regression
import torch

from speechlm.checkpoints.trainer_files import (
    CHECKPOINT,
    DAMAGED,
    PREVIOUS,
    last_epoch,
    load_weights_only,
)
from speechlm.data.disk import cannot_write
from speechlm.tasks.inside import INSIDE
from speechlm.tasks.interrupts import INTERRUPTED, SIGNALS
from speechlm.tasks.position import random_state, restore_random_state, without_first
from speechlm.tasks.saving import save_file

BATCHES, EPOCHS, in_child, train = (
    *(regression.BATCHES, regression.EPOCHS, regression.in_child, regression.train),
)
EVERY_UPDATE = 1e-9  # minutes


def results(folder: Path) -> dict:
    """What a training leaves, but for the checkpoint before the last, which follows the clock."""
    found = regression.contents(folder)
    found.pop(PREVIOUS)
    return found


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> dict:
    folder = tmp_path_factory.mktemp("undisturbed")
    train(folder)
    return results(folder)


def at(epoch: int, batch: int, action, seen: list | None = None):
    """`on_batch` that acts when a batch is asked for, and notes which training batches were."""

    def on_batch(now, i, _batch):
        if seen is not None:
            seen.append((now, i))
        if (now, i) == (epoch, batch):
            action()

    return on_batch


def kill(number: int = signal.SIGKILL) -> None:
    os.kill(os.getpid(), number)


DRAW = random.Random(5)
KILLS = [divmod(n, BATCHES) for n in sorted(DRAW.sample(range(2, EPOCHS * BATCHES), 5))]


@pytest.mark.parametrize(("before", "batch"), KILLS)
def test_killed_at_random_it_goes_on_from_the_last_update(tmp_path, undisturbed, before, batch):
    epoch, seen = before + 1, []
    options = {"checkpoint_minutes": EVERY_UPDATE}
    assert in_child(train, tmp_path, at(epoch, batch, kill), **options) == -signal.SIGKILL
    train(tmp_path, at(0, 0, None, seen))
    assert seen[0] == (epoch, batch - batch % 2)  # an update has two batches
    assert results(tmp_path) == undisturbed


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("number", [4, 9])
def test_killed_in_a_save_it_goes_on_to_the_same_bits(tmp_path, undisturbed, call, number):
    def run():
        real, calls = getattr(os, call), iter(range(1000))
        setattr(os, call, lambda *a: kill() if next(calls) == number else real(*a))
        train(tmp_path, checkpoint_minutes=EVERY_UPDATE)

    assert in_child(run) == -signal.SIGKILL
    train(tmp_path)
    assert results(tmp_path) == undisturbed


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_saves_and_ends_with_a_code_of_its_own(tmp_path, undisturbed, number):
    seen = []
    assert in_child(train, tmp_path, at(2, 2, lambda: kill(number))) == INTERRUPTED
    state = load_weights_only(tmp_path / CHECKPOINT)
    assert (last_epoch(tmp_path), state[INSIDE]["batches"]) == (1, 4)
    train(tmp_path, at(0, 0, None, seen))
    assert seen[0] == (2, 4)
    assert results(tmp_path) == undisturbed


def test_it_goes_on_at_the_same_update_with_other_batches(tmp_path):
    """Those of an update may be put together, on a GPU of more memory."""
    seen = []
    assert in_child(train, tmp_path, at(2, 2, kill, []), checkpoint_minutes=EVERY_UPDATE) < 0
    assert load_weights_only(tmp_path / CHECKPOINT)[INSIDE]["batches"] == 2
    train(tmp_path, at(0, 0, None, seen), accum_grad=1)
    assert seen[0] == (2, 1)  # one update of two batches was made; the next has batch 1 alone


@pytest.mark.parametrize("number", SIGNALS)
def test_a_second_signal_does_not_change_the_end(tmp_path, number):
    def run():
        try:
            train(tmp_path, at(2, 2, lambda: kill(number)))
        except SystemExit:
            kill(number)
            raise

    assert in_child(run) == INTERRUPTED


def test_a_signal_to_all_processes_leaves_the_loader_s_alive(tmp_path, undisturbed):
    """They are asked for the rest of the update."""

    def run():
        os.setpgid(0, 0)
        train(tmp_path, at(2, 2, lambda: os.killpg(0, signal.SIGTERM)), num_workers=1)

    assert in_child(run) == INTERRUPTED
    assert load_weights_only(tmp_path / CHECKPOINT)[INSIDE]["epoch"] == 2
    train(tmp_path, num_workers=2)
    assert results(tmp_path) == undisturbed


def test_a_signal_in_a_validation_does_not_lose_the_epoch(tmp_path, undisturbed):
    seen, stop = [], at(2, 1, lambda: kill(signal.SIGUSR1))
    assert in_child(train, tmp_path, on_validation=stop) == INTERRUPTED
    assert load_weights_only(tmp_path / CHECKPOINT)[INSIDE]["batches"] == BATCHES
    train(tmp_path, at(0, 0, None, seen))
    assert seen[0] == (3, 0)
    assert results(tmp_path) == undisturbed


def test_a_damaged_checkpoint_inside_an_epoch_gives_way_to_the_one_before(tmp_path, undisturbed):
    options, seen = {"checkpoint_minutes": EVERY_UPDATE}, []
    assert in_child(train, tmp_path, at(2, 5, kill), **options) == -signal.SIGKILL
    os.truncate(tmp_path / CHECKPOINT, 1000)
    train(tmp_path, at(0, 0, None, seen))
    assert seen[0] == (2, 2)
    (tmp_path / DAMAGED).unlink()
    assert results(tmp_path) == undisturbed


def test_a_checkpoint_that_has_no_room_does_not_stop_the_training(
    tmp_path, undisturbed, monkeypatch, caplog
):
    def full(states, path):
        if INSIDE in states:
            raise cannot_write(28, path, "No space left on device", 1000)
        save_file(states, path)

    monkeypatch.setattr("speechlm.tasks.inside.save_file", full)
    train(tmp_path, checkpoint_minutes=EVERY_UPDATE)
    assert results(tmp_path) == undisturbed
    assert "1,000 bytes needed" in caplog.text and "the training goes on" in caplog.text
    stop = at(1, 1, lambda: kill(signal.SIGTERM))
    assert in_child(train, tmp_path / "other", stop) == 1  # an error: nothing was saved


def test_by_default_checkpoints_are_some_minutes_apart(tmp_path, monkeypatch):
    saved = []
    monkeypatch.setattr("speechlm.tasks.inside.save_file", lambda *_: saved.append(clock[0]))
    clock = [0.0]
    monkeypatch.setattr("speechlm.tasks.inside.time.monotonic", lambda: clock[0])

    def pass_time(_epoch, _i, _batch):
        clock[0] += 240.0  # seconds

    train(tmp_path, pass_time, max_epoch=1)
    assert saved == [960.0]  # behind the second update of three; the end's is ESPnet's


def test_another_number_of_workers_is_told(tmp_path, caplog):
    assert in_child(train, tmp_path, at(2, 2, lambda: kill(signal.SIGTERM))) == INTERRUPTED
    state = load_weights_only(tmp_path / CHECKPOINT)
    state[INSIDE]["random"] *= 2
    torch.save(state, tmp_path / CHECKPOINT)
    train(tmp_path)
    assert "is of 2 workers, others than now" in caplog.text
    assert last_epoch(tmp_path) == EPOCHS


def test_random_numbers_go_on():
    def draw():
        return torch.rand(2).tolist(), random.random(), regression.np.random.rand()

    draw()
    state = random_state()
    drawn = draw()
    restore_random_state(state)
    assert draw() == drawn


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("kind", ["batches", "examples", "iterator"])
def test_the_rest_of_a_loader_is_its_last_batches(kind, num_workers):
    made = []

    class Numbers(torch.utils.data.Dataset):
        def __len__(self):
            return 10

        def __getitem__(self, i):
            made.append(i)
            return i

    shape = {"batch_size": None} if kind == "batches" else {"batch_sampler": [[1, 2], [4], [7, 8]]}
    loader = torch.utils.data.DataLoader(Numbers(), num_workers=num_workers, **shape)
    whole = iter(list(loader)) if kind == "iterator" else loader
    expected = [b.tolist() if kind != "batches" else int(b) for b in loader][2:]
    made.clear()
    rest = [b.tolist() if kind != "batches" else int(b) for b in without_first(whole, 2)]
    assert rest == expected and len(rest) in (1, 8)
    assert not {0, 1} & set(made)
