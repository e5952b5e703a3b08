"""What configurations and README.md say of fewer GPUs: the same updates, each of as much."""

import re
from pathlib import Path

import pytest
import yaml

CONF = Path(__file__).parents[2] / "egs" / "TEMPLATE" / "conf"
LARGE = [path for path in sorted(CONF.glob("*.yaml")) if re.search("_(base|large)", path.name)]
COMMAND = re.compile(r'--ngpu (\d+)[^"\n]*\s+(?:[^"\n]*)--(?:pretrain|finetune|lm)_args "([^"]*)"')
ADDED_UP = (
    "batch_bins",
    "max_sentences",
)  # over GPUs; batch_samples, _units and _words are a GPU's


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
    factor = (32 if "batch_samples" in conf else 8) / gpus
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
    ("page", "n"), [("README.md", 2), ("egs/librilight/run.sh", 1)], ids=["README", "librilight"]
)
def test_commands_of_pages(root, page, n):
    text = (root / page).read_text()
    parts = re.findall(r"run\.sh[^\n]*(?:\\\n[^\n]*)*--pretrain_args [^\n]*", text)
    assert len(parts) == n
    for part in parts:
        large = "speech_corpus" in part
        conf = yaml.safe_load((CONF / f"pretrain_{'large' if large else 'base'}.yaml").read_text())
        ((gpus, options),) = commands(part)
        check(conf, gpus, options)
