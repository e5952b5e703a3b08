"""new_recipe.sh: what it refuses; its recipe dry through all stages, and stages 1 to 3 for real."""

import re
import subprocess

import numpy as np
import pytest
import soundfile

from speechlm.data.kaldi_dir import DataDir

PARTS = {"train": (("anna", "bob"), 4), "dev": (("carl",), 2), "test": (("dora",), 2)}
WORDS = ("NORTH", "WIND", "AND", "SUN", "WERE", "TALKING", "ABOUT", "A", "TRAVELER'S", "CLOAK")


@pytest.fixture
def new_recipe(project):
    """Run new_recipe.sh in a copy of the project's egs/; returns (egs/, what it said)."""

    def run(*words: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [project / "TEMPLATE" / "new_recipe.sh", *words],
            capture_output=True,
            text=True,
            timeout=60,
        )

    return run


@pytest.fixture
def fresh(project, new_recipe):
    """The folder of a new recipe."""
    made = new_recipe("fresh_2")
    assert made.returncode == 0 and not made.stderr, made.stderr
    return project / "fresh_2"


@pytest.fixture
def corpus(tmp_path):
    """A handful of recordings (tones in noise, 22,050 Hz), their transcripts, and text."""
    random = np.random.default_rng(0)
    folder = tmp_path / "my recordings"
    for part, (speakers, n) in PARTS.items():
        (folder / part).mkdir(parents=True)
        lines = []
        for name in (f"{speaker}-{i}" for speaker in speakers for i in range(n)):
            tone = np.sin(np.arange(26460) * random.uniform(0.02, 0.2))
            wave = 0.3 * tone + 0.01 * random.standard_normal(len(tone))
            soundfile.write(folder / part / f"{name}.wav", wave, 22050)
            lines.append(f"{name} {' '.join(random.choice(WORDS, 5)).lower()}, 2 times.\n")
        (folder / part / "text").write_text("".join(lines))
    (folder / "text").mkdir()
    sentences = "".join(" ".join(random.choice(WORDS, 7)) + "\n" for _ in range(60))
    (folder / "text" / "all.txt").write_text(sentences)
    return folder


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "the name of the new recipe is wanted"),
        (["a", "b"], "the name of the new recipe is wanted"),
        (["--name"], "the name of the new recipe is wanted"),
        (["mine", "--lang", "de"], "--lang CODE goes before it"),
        (["TEMPLATE"], "cannot be a recipe's name"),
        (["../outside"], "cannot be a recipe's name"),
        (["two words"], "cannot be a recipe's name"),
        (["2nd"], "cannot be a recipe's name"),
        ([""], "cannot be a recipe's name"),
        (["a" * 300], "cannot be a recipe's name; small letters, digits and underscores, 100 of"),
    ],
)
def test_unsuitable_names_are_refused(project, new_recipe, words, message):
    result = new_recipe(*words)
    assert result.returncode == 1 and message in result.stderr
    assert [path.name for path in project.iterdir()] == ["TEMPLATE"]


@pytest.mark.parametrize("code", ["DE", "german", "d", "", "de_"])
def test_unsuitable_languages_are_refused(project, new_recipe, code):
    result = new_recipe("--lang", code, "mine")
    assert result.returncode == 1 and "cannot be a language's code" in result.stderr
    assert [path.name for path in project.iterdir()] == ["TEMPLATE"]


def test_a_recipe_in_another_language(project, new_recipe, run_sh):
    assert new_recipe("--lang", "pt-BR", "mine").returncode == 0
    shown = run_sh(project / "mine", "--corpus", "c", "--dry_run").stderr
    assert shown.count("prepare_recordings") == shown.count("--language pt-BR --max_bad_share") == 4
    assert "make_language --language pt-BR --text data/paired/text data/text/unp" in shown
    english = run_sh(project / "mine", "--corpus", "c", "--dry_run", "--lang", "en").stderr
    assert "make_language" not in english and "--language en --max_bad_share" in english
    wrong = run_sh(project / "mine", "--corpus", "c", "--dry_run", "--lang", "Deutsch")
    assert wrong.returncode != 0 and "--lang is 'Deutsch'; a code" in wrong.stderr


def test_a_recipe_that_is_there_is_left_alone(fresh, new_recipe):
    (fresh / "run.sh").write_text("mine")
    again = new_recipe("fresh_2")
    assert again.returncode == 1 and "fresh_2 is there already" in again.stderr
    assert (fresh / "run.sh").read_text() == "mine"


def test_help_says_what_it_makes(new_recipe):
    result = new_recipe("--help")
    assert result.returncode == 0
    assert result.stdout.startswith("Makes a recipe") and "new_recipe.sh NAME" in result.stdout
    assert "set -euo" not in result.stdout and "#" not in result.stdout


def test_its_scripts_are_clean(fresh, root):
    scripts = [fresh / "run.sh", fresh / "local" / "data.sh"]
    assert "# fresh_2: " in scripts[0].read_text()
    check = [root / ".venv" / "bin" / "shellcheck", "-x", "-P", "SCRIPTDIR", *scripts]
    result = subprocess.run(check, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("kind", ["phoneme", "hidden"])
def test_dry_through_all_stages(fresh, run_sh, root, kind):
    result = run_sh(fresh, "--corpus", "my recordings", "--dry_run", "--unit_type", kind)
    assert result.returncode == 0, result.stderr
    assert re.findall(r"== stage (\d+): ", result.stderr) == [str(n) for n in range(1, 15)]
    named = set(re.findall(r"speechlm\.bin\.(\w+)", result.stderr))
    units = {"phoneme": "--output dump/speech/units_phone ", "hidden": "bin.train_text_to_unit "}
    assert {"prepare_recordings", "pretrain", "finetune_asr", "score"} <= named
    assert [name for name, words in units.items() if words in result.stderr] == [kind]
    for main in named:
        assert (root / "speechlm" / "bin" / f"{main}.py").is_file(), main
    assert set(re.findall(r"--config_size (\S+)", result.stderr)) == {"fast_tiny"}
    assert {path.name for path in fresh.iterdir()} == {"run.sh", "local"}


def test_the_share_of_what_may_be_wrong_reaches_its_data(fresh, run_sh):
    words = ("--corpus", "c", "--dry_run", "--stop_stage", "1", "--max_bad_share", "0.25")
    shown = run_sh(fresh, *words).stderr
    assert shown.count("prepare_recordings") == shown.count("--max_bad_share 0.25 ") == 4


def test_fine_tuning_on_a_set_of_its_own(fresh, run_sh):
    shown = run_sh(fresh, "--corpus", "c", "--dry_run", "--finetune_parts", "train more").stderr
    assert re.search(r"--parts train more .*--output data/finetune", shown)
    assert "format_data --input data/finetune --output dump/finetune" in shown
    assert "--train_dir dump/finetune " in shown and "train_gmm --data_dir dump/paired " in shown


@pytest.mark.recipe
def test_the_first_three_stages(fresh, run_sh, corpus):
    words = ("--corpus", str(corpus), "--stop_stage", "3")
    result = run_sh(fresh, *words, timeout=600)
    assert result.returncode == 0, result.stderr[-4000:]
    paired, speech = (DataDir.read(fresh / "dump" / name) for name in ("paired", "speech"))
    assert list(paired.spk2utt) == ["anna", "bob"] and len(paired) == 8
    assert paired.text["anna-0"].endswith(" TWO TIMES")
    assert speech.text is None and set(speech.samples().values()) == {19200}  # 1.2 s at 16 kHz
    assert [len(DataDir.read(fresh / "dump" / name)) for name in ("dev", "test")] == [2, 2]
    lexicon = (fresh / "exp" / "lexicon" / "lexicon.txt").read_text()
    assert {"TIMES", "TRAVELER'S"} <= {line.split()[0] for line in lexicon.splitlines()}
    assert "ngram 3=" in (fresh / "exp" / "word_lm" / "lm.arpa").read_text()
    again = run_sh(fresh, *words)
    assert again.returncode == 0 and ": starts" not in again.stderr
    texts = (fresh / "dump" / "text" / f"{part}.txt" for part in ("train", "dev"))
    assert all(len(path.read_text().splitlines()) >= 1 for path in texts)
    next_one = run_sh(fresh, *words[:2], "--stage", "5", "--stop_stage", "5").stderr
    assert "needs exp/recognizer/gmm, which is not there; stage 4 makes it" in next_one


def test_what_is_missing_is_explained(fresh, run_sh, corpus):
    early = run_sh(fresh, "--stage", "2").stderr
    assert "needs data/paired, which is not there; stage 1 makes it" in early
    nothing = run_sh(fresh)
    assert nothing.returncode == 1 and "--corpus, the folder of the recordings" in nothing.stderr
    (corpus / "test" / "text").rename(corpus / "test" / "transcripts")
    no_table = run_sh(fresh, "--corpus", str(corpus))
    assert no_table.returncode == 1 and "test/text, which is not there: on each" in no_table.stderr
    no_part = run_sh(fresh, "--corpus", str(corpus), "--test_parts", "eval")
    assert "my recordings/eval, which is not there; it is for you to provide" in no_part.stderr
    unnamed = run_sh(fresh, "--corpus", str(corpus), "--dev_parts", "")
    assert "no part is named for data/dev: --dev_parts is empty" in unnamed.stderr


@pytest.mark.recipe
def test_the_first_three_stages_in_german(project, new_recipe, run_sh, corpus):
    assert new_recipe("--lang", "de", "mine").returncode == 0
    words = ["Größe", "und", "Wärme", "über", "Straßen", "gehört", "schöne", "Häuser"]
    for part, (speakers, n) in PARTS.items():
        names = [f"{speaker}-{i}" for speaker in speakers for i in range(n)]
        lines = [f"{name} {' '.join(words[k % 3 :: 2])}!\n" for k, name in enumerate(names)]
        lines[0] = f"{names[0]} Zahl 5 kommt\n" if part == "train" else lines[0]
        (corpus / part / "text").write_text("".join(lines))
    (corpus / "text" / "all.txt").write_text(f"{' '.join(words)}.\nAlte Häuser.\n" * 30)
    given = ("--corpus", str(corpus), "--max_bad_share", "0.2")
    result = run_sh(project / "mine", *given, "--stop_stage", "3", timeout=600)
    assert result.returncode == 0, result.stderr[-4000:]
    dump = DataDir.read(project / "mine" / "dump" / "paired")
    assert len(dump) == 7 and dump.text["anna-2"].startswith("wärme straßen")
    lexicon = (project / "mine" / "exp" / "lexicon" / "lexicon.txt").read_text()
    assert "straßen ʃ t ɾ ɑː s ə n" in lexicon.splitlines()
    again = run_sh(project / "mine", *given, "--stop_stage", "3", "--dry_run")
    assert "make_lexicon" not in again.stderr
    # The phones are an input of every later step.
    file = project / "mine" / "data" / "language.json"
    file.write_text(file.read_text().replace('"ʃ"', '"ʃː"'))
    changed = run_sh(project / "mine", *given, "--stage", "3", "--stop_stage", "3", "--dry_run")
    assert "make_lexicon" in changed.stderr
