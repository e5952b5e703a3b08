"""Sizes of models: the driver's table, the files that follow from it, and what is in them."""

import re
from pathlib import Path

import pytest
import yaml

from speechlm.bin._training import SIZES as NAMES
from speechlm.checkpoints.model_dir import SIZES

TEMPLATE = Path(__file__).parents[2] / "egs" / "TEMPLATE"
CONF = TEMPLATE / "conf"
BLOCK = re.search(r'^size_table="\n(.*?)^"', (TEMPLATE / "sizes.sh").read_text(), re.M | re.S)[1]
ROWS = [line.split() for line in BLOCK.splitlines() if not line.strip().startswith("#")]
TABLE = {size: row for size, *row in ROWS}
OF_RECIPES = [
    path
    for path in sorted(TEMPLATE.parent.glob("*/conf/*.yaml"))
    if path.parent != CONF and (CONF / path.name).exists()
]
PAIRS = [(f"fast_{size}", size) for size in ("tiny", "base", "large")]


def read(name: str) -> dict:
    """A configuration of the template."""
    return yaml.safe_load((CONF / f"{name}.yaml").read_text())


def configurations(size: str) -> dict[str, str]:
    """Names of a size's files, by what they are for."""
    finetune, *_ = TABLE[size]
    return {"pretrain": f"pretrain_{size}", "ctc": finetune, "st": f"finetune_st_{size}"}


def test_the_table_has_all_sizes():
    assert sorted(TABLE) == sorted(SIZES) == sorted(NAMES)
    assert all(len(row) == 4 for row in TABLE.values())


@pytest.mark.parametrize("size", TABLE)
def test_every_file_is_there_and_fits_the_model(size):
    for name in configurations(size).values():
        conf = read(name)
        assert conf["config_size"] == size, name
        changes = conf.get("encoder_conf", {}).get("speechlm", {})
        SIZES[size](**conf.get("model_conf", {}), **changes)  # refuses what it has not
    _, words, text_to_unit, layer = TABLE[size]
    assert (CONF / f"{words}.yaml").is_file() and (CONF / f"{text_to_unit}.yaml").is_file()
    assert int(layer) == SIZES[size]().speech_layers  # the middle: the last of the first half


@pytest.mark.parametrize("path", OF_RECIPES, ids=lambda path: f"{path.parts[-3]}/{path.stem}")
def test_a_recipes_own_configuration_takes_the_place_of_a_templates(path):
    conf, whole = yaml.safe_load(path.read_text()), read(path.stem)
    assert conf["config_size"] == whole["config_size"] and conf.keys() >= whole.keys()
    changes = conf.get("encoder_conf", {}).get("speechlm", {})
    SIZES[conf["config_size"]](**conf.get("model_conf", {}), **changes)


def test_every_configuration_is_of_a_size_or_of_no_encoder():
    named = {name for size in TABLE for name in configurations(size).values()}
    named |= {name for row in TABLE.values() for name in row[1:3]}
    there = {path.stem for path in CONF.glob("*.yaml")}
    assert there - named == {"phone_model", "phone_model_tiny"}


@pytest.mark.parametrize(("fast", "paper"), PAIRS)
def test_fast_sizes_see_as_many_seconds_and_mask_as_long(fast, paper):
    frames = {size: SIZES[size]().framing.seconds for size in (fast, paper)}
    ours, theirs = (configurations(size) for size in (fast, paper))
    units = [read(f"pretrain_{size}")["batch_units"] * frames[size] for size in (fast, paper)]
    # tiny's text is fewer seconds by choice: its pre-training is short
    assert units[0] == pytest.approx(units[1], rel=0.25 if fast == "fast_tiny" else 1e-3)
    for kind in ("ctc", "st"):
        masks = [
            read(names[kind])["encoder_conf"]["time_mask_length"] * frames[size]
            for size, names in ((fast, ours), (paper, theirs))
        ]
        assert masks[0] == pytest.approx(masks[1]), kind


OWN = {
    "pretrain": {"config_size", "batch_units", "grad_clip", "batch_gib", "state_gib"},
    "ctc": {"config_size", "encoder_conf"},
    "st": {"config_size", "encoder_conf"},
}


@pytest.mark.parametrize(("fast", "paper"), PAIRS[1:])
def test_what_was_not_tried_at_a_size_is_the_papers(fast, paper):
    ours, theirs = configurations(fast), configurations(paper)
    for kind, own in OWN.items():
        pair = read(ours[kind]), read(theirs[kind])
        differ = {n for n in pair[0].keys() | pair[1].keys() if pair[0].get(n) != pair[1].get(n)}
        assert differ <= own, kind


@pytest.fixture(scope="module")
def shown(copy_recipe, run_sh, tmp_path_factory):
    """Function: recipe, options of a dry run -> the files of conf/ that it names."""
    root = tmp_path_factory.mktemp("sizes")
    folders = {name: copy_recipe(root / name, name) for name in ("mini", "mini_st")}

    def run(name: str, *words: str) -> list[str]:
        result = run_sh(folders[name], "--dry_run", *words)
        assert result.returncode == 0, result.stderr
        return re.findall(r"conf/(\w+)\.yaml", result.stderr)

    return run


@pytest.mark.parametrize("size", ["tiny", "fast_base"])
def test_a_sizes_files_reach_the_commands(shown, size):
    words = ("--config_size", size, "--systems", "hidden_text", "--iterations", "2")
    finetune, language, text_to_unit, _ = TABLE[size]
    names = shown("mini", "--stage", "6", "--stop_stage", "12", *words)
    pretrain = f"pretrain_{size}"
    # the language model: beside pre-training, and at its own stage
    assert names == [pretrain, text_to_unit, pretrain, language, finetune, language]


def test_translation_has_files_of_its_own(shown):
    words = ("--stage", "10", "--stop_stage", "11", "--systems", "speech_text")
    for size in ("fast_tiny", "large"):
        names = shown("mini_st", *words, "--config_size", size)
        assert names == [f"pretrain_{size}", f"finetune_st_{size}"]


@pytest.mark.parametrize("size", ["tiny", "fast_large"])
def test_the_layer_that_is_clustered_is_the_middle_one(copy_recipe, run_sh, tmp_path, size):
    words = ("--config_size", size, "--systems", "hidden", "--iterations", "2")
    folder = copy_recipe(tmp_path, "mini")
    said = run_sh(folder, "--dry_run", "--stage", "6", "--stop_stage", "6", *words).stderr
    assert f"--model exp/hubert_1 --layer {SIZES[size]().speech_layers} " in said
    assert "label_rate" not in said
