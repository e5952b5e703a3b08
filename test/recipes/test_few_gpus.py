"""What configurations and README.md say of fewer GPUs: the same updates, each of as much."""

import argparse
import logging
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml

from speechlm.tasks import update_size
from speechlm.tasks.pretrain import check_same_sharing
from speechlm.tasks.update_size import as_told, log_sharing, share_update

CONF = Path(__file__).parents[2] / "egs" / "TEMPLATE" / "conf"
LARGE = [path for path in sorted(CONF.glob("*.yaml")) if re.search("_(base|large)", path.name)]
PRETRAIN = [path.stem for path in LARGE if path.stem.startswith("pretrain")]
LARGE = [path for path in LARGE if path.stem not in PRETRAIN]
COMMAND = re.compile(r'--ngpu (\d+)[^"\n]*\s+(?:[^"\n]*)--(?:pretrain|finetune|lm)_args "([^"]*)"')
ADDED_UP = ("batch_bins", "max_sentences")  # over GPUs; batch_words are a GPU's


def commands(text: str) -> list[tuple[int, dict[str, int]]]:
    """GPUs and options of each command that names both."""
    text = re.sub(r"\\?\n#? *", " ", text)
    found = COMMAND.findall(text)
    return [
        (int(gpus), {name: int(n) for name, n in re.findall(r"--(\w+) (\d+)", options)})
        for gpus, options in found
    ]


def check(conf: dict, gpus: int, options: dict[str, int]) -> None:
    """The options of fewer GPUs leave what an update sees and the number of updates as they are."""
    factor = 8 / gpus
    assert options.pop("accum_grad") == factor * conf.get("accum_grad", 1)
    assert options.pop("num_iters_per_epoch") == factor * conf["num_iters_per_epoch"]
    wanted = {name: conf[name] / factor for name in ADDED_UP if name in conf}
    assert options == wanted


@pytest.mark.parametrize("path", LARGE, ids=lambda path: path.stem)
def test_commands_in_configurations(path):
    text = path.read_text()
    comment = text[: re.search(r"^[^#]", text, re.M).start()]
    found = commands(comment)
    assert found and found[-1][0] == 1
    assert len(found) == comment.count("_args")
    for gpus, options in found:
        check(yaml.safe_load(text), gpus, options)


@pytest.mark.parametrize(
    "page", ["README.md", "egs/librilight/run.sh", "egs/librispeech/README.md"]
)
def test_pages_leave_batches_of_pretraining_to_the_configuration(root, page):
    text = (root / page).read_text()
    assert "--ngpu 8" in text
    for option in ("accum_grad", "num_iters_per_epoch"):
        assert f"--{option}" not in text


def options(name: str, **given) -> argparse.Namespace:
    """Options of a pre-training on a CPU, or with `gpu_gib` on a GPU, by its configuration."""
    conf = yaml.safe_load((CONF / f"{name}.yaml").read_text())
    more = {"batches_at_once": None, "gpu_gib": None, "ngpu": 0}
    return argparse.Namespace(**{**more, **conf, **given})


@pytest.mark.parametrize("gpu_gib", [None, 15.7, 23.6, 39.4, 79.2, 139.8])
@pytest.mark.parametrize("gpus", [1, 2, 4, 8, 16, 32, 64])
@pytest.mark.parametrize("name", PRETRAIN)
def test_fewer_gpus_make_the_updates_of_32(name, gpus, gpu_gib):
    conf, args = options(name), options(name, gpu_gib=gpu_gib)
    if gpus == 64 and conf.accum_grad == 1:
        with pytest.raises(
            ValueError, match="32 batches .* cannot be shared equally by 64 workers"
        ):
            share_update(args, gpus)
        return
    share_update(args, gpus)
    assert conf.for_workers == 32 and args.for_workers is None
    assert gpus * args.batches_at_once * args.accum_grad == 32 * conf.accum_grad
    updates = conf.max_epoch * conf.num_iters_per_epoch / conf.accum_grad
    assert args.max_epoch * args.num_iters_per_epoch / args.accum_grad == updates == 400_000
    for same in ("batch_samples", "batch_units"):
        assert getattr(args, same) == getattr(conf, same)
    if args.batches_at_once > 1:
        wanted = conf.state_gib + args.batches_at_once * conf.batch_gib
        assert wanted <= 0.85 * gpu_gib
    assert gpu_gib or args.batches_at_once == 1


def test_the_table_of_choices(root):
    """doc/nodes.md: batches at once x by turns on 8 GPUs, for each size and memory."""
    rows = re.findall(
        r"^\| `(\w+)` \| (.+) \|$", (root / "doc" / "nodes.md").read_text(), re.MULTILINE
    )
    assert [f"pretrain_{size}" for size, _ in rows] == [
        *sorted(PRETRAIN, key=lambda n: "fast" in n)
    ]
    for size, cells in rows:
        for gib, cell in zip((16, 24, 40, 80), cells.split(" | "), strict=True):
            args = options(f"pretrain_{size}", gpu_gib=0.985 * gib)  # what such a GPU has to give
            share_update(args, 8)
            assert cell == f"{args.batches_at_once} x {args.accum_grad}", (size, gib)


def test_the_memory_is_that_of_the_smallest_gpu(monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    gib = [80, 24]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(
        torch.cuda,
        "get_device_properties",
        lambda device: SimpleNamespace(total_memory=gib[device] * 2**30),
    )
    args = options("pretrain_base", ngpu=1)
    share_update(args, 8)
    log_sharing(args, 8)
    assert (args.batches_at_once, args.accum_grad) == (2, 2)
    assert "32 batches: 8 workers x 2 at once x 2 by turns (--batches_at_once N" in caplog.text
    assert "an estimated 13.9 GiB of a GPU's 24.0" in caplog.text


def test_the_choice_can_be_changed(caplog):
    args = options("pretrain_base", gpu_gib=80.0, batches_at_once=1)
    share_update(args, 8)
    assert (args.batches_at_once, args.accum_grad, args.num_iters_per_epoch) == (1, 4, 16_000)
    caplog.clear()
    args = options("pretrain_base", gpu_gib=16.0, batches_at_once=4)
    share_update(args, 8)
    log_sharing(args, 8)
    assert (args.batches_at_once, args.accum_grad) == (4, 1)
    (warning,) = (r.getMessage() for r in caplog.records if r.levelno == logging.WARNING)
    assert (
        "26.3 GiB of a GPU's 16.0; if memory runs out, use a smaller --batches_at_once" in warning
    )
    caplog.clear()
    args = options("pretrain_large", gpu_gib=16.0)
    share_update(args, 8)
    log_sharing(args, 8)  # one batch at once is too much
    (warning,) = (r.getMessage() for r in caplog.records if r.levelno == logging.WARNING)
    assert "18.1 GiB" in warning and "smaller max_samples and batch_samples, with for_w" in warning
    for wrong, match in ((3, "one of 1, 2, 4 expected.*got 3"), (0, "1 or more expected, got 0")):
        with pytest.raises(ValueError, match=f"batches_at_once: {match}"):
            share_update(options("pretrain_base", batches_at_once=wrong), 8)
    with pytest.raises(ValueError, match="use 1, 2, 4, 8, 16, 32 of them.*--for_workers 12"):
        share_update(options("pretrain_base"), 12)
    args = options("pretrain_large", for_workers=12, gpu_gib=80.0)
    share_update(args, 12)  # an update of other size, as it is asked for
    assert args.batches_at_once * args.accum_grad == 4


def test_numbers_of_batches_on_the_command_line_are_taken_as_they_are(caplog):
    caplog.set_level(logging.INFO)
    for word in ("--accum_grad", "--num_iters_per_epoch=20"):
        args = options("pretrain_base", gpu_gib=80.0)
        as_told(args, ["--max_epoch", "3", word, "4"])
        share_update(args, 8)
        assert (args.batches_at_once, args.accum_grad) == (None, 1)
        assert args.num_iters_per_epoch == 4000 and word in caplog.text
    args = options("pretrain_base", gpu_gib=80.0)
    as_told(args, ["--max_epoch", "3"])
    share_update(args, 8)
    assert args.batches_at_once == 4


def test_a_configuration_that_a_training_has_written_says_the_same_again():
    args = options("pretrain_large", gpu_gib=40.0)
    share_update(args, 8)
    again = argparse.Namespace(**vars(args))
    share_update(again, 8)
    assert again == args


def test_workers_with_other_memories_are_refused(monkeypatch):
    monkeypatch.setattr("speechlm.tasks.pretrain.from_all_workers", lambda items: [*items, 2])
    check_same_sharing(argparse.Namespace(batches_at_once=2))
    with pytest.raises(ValueError, match=r"at once \(4, 2\): say --batches_at_once 2"):
        check_same_sharing(argparse.Namespace(batches_at_once=4))


def test_divisors():
    assert update_size.divisors(12) == [1, 2, 3, 4, 6, 12] and update_size.divisors(1) == [1]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("for_workers", 0),
        ("for_workers", -8),
        ("accum_grad", 0),
        ("batches_at_once", 0),
        ("batch_gib", 0.0),
        ("batch_gib", float("nan")),
        ("state_gib", -1.0),
        ("gpu_gib", float("inf")),
    ],
)
def test_numbers_that_cannot_be_are_named(name, value):
    with pytest.raises(ValueError, match=rf"{name}: .* expected, got"):
        share_update(options("pretrain_base", **{name: value}), 8)
