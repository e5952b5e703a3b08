"""The programs of egs/superb, from a corpus in its layout to the report."""

import numpy as np
import pytest
import soundfile
import yaml

from speechlm.data.speech_commands import KEYWORDS, set_of
from speechlm.superb.results import read_result

WORDS = ("yes", "no", "up")
CONFIG = {"ks": {"steps": 24, "evaluate": 24, "batch": 6, "rates": [1e-2]}}


def tone(number: int, seed: int) -> np.ndarray:
    """Half a second of a tone of a word's own, in noise."""
    rng = np.random.default_rng(seed)
    wave = 0.3 * np.sin(np.arange(8000) * (0.1 + 0.25 * number)) + 0.02 * rng.normal(size=8000)
    return wave.astype(np.float32)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Speech Commands of three words, each a tone."""
    root = tmp_path_factory.mktemp("commands")
    names = [f"{n:08x}" for n in range(200)]
    chosen: list[str] = []
    for group, count in (("train", 8), ("dev", 3)):
        chosen += [name for name in names if set_of(name) == group][:count]
    assert set(WORDS) < set(KEYWORDS)
    for seed, speaker in enumerate([*chosen, *("t1", "t2", "t3")]):
        for number, word in enumerate(WORDS):
            part = (
                "speech_commands_test_set_v0.01" if speaker[0] == "t" else "speech_commands_v0.01"
            )
            path = root / part / word / f"{speaker}_nohash_0.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, tone(number, seed), 16000)
    return root


@pytest.fixture(scope="module")
def prepared(corpus, run_main, tmp_path_factory):
    """A folder with data, dump and a configuration."""
    folder = tmp_path_factory.mktemp("superb")
    (folder / "config.yaml").write_text(yaml.safe_dump(CONFIG))
    for name, *words in (
        ("prepare_superb", "--task", "ks", "--corpus", corpus, "--output", folder / "data"),
        ("format_data", "--input", folder / "data", "--output", folder / "dump", "--nj", 1),
    ):
        done = run_main(name, *words)
        assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def judge(prepared, run_main):
    """Function: run superb_judge for a model, with further options."""

    def run(model, *words, config="config.yaml"):
        return run_main(
            *("superb_judge", "--task", "ks", "--model", model, "--seeds", 1, 2),
            *("--task_dir", prepared / "data", "--data_dir", prepared / "dump"),
            *("--config", prepared / config, "--output", prepared / "heads" / model, *words),
        )

    return run


def test_from_a_corpus_to_the_report(prepared, judge, run_main, model_folder):
    model = model_folder()
    for name, upstream in (("fbank", "fbank"), ("ours", model), ("random", f"random:{model}")):
        done = run_main(
            *("superb_features", "--upstream", upstream),
            *("--data_dir", prepared / "dump", "--output", prepared / "layers" / name),
        )
        assert done.returncode == 0, done.stderr
        done = judge(name, "--features", prepared / "layers" / name)
        assert done.returncode == 0, done.stderr
    live = judge("live", "--upstream", model)
    assert live.returncode == 0, live.stderr
    results = {n: read_result(prepared / "heads" / n) for n in ("fbank", "ours", "random", "live")}
    for one, other in zip(*(results[n].scores["accuracy"] for n in ("ours", "live")), strict=True):
        assert np.array_equal(one.counts, other.counts)  # as stored, so computed anew
    # The mean over frames of what is normalised in each utterance says nothing (SUPERB's table).
    means = {n: [s.counts.mean() for s in r.scores["accuracy"]] for n, r in results.items()}
    assert np.allclose(means["fbank"], 1 / 3) and min(means["ours"]) > 0.6
    assert results["ours"].weights.shape == (2, 4)
    folders = [prepared / "heads" / n for n in ("ours", "fbank", "random")]
    page, image = prepared / "RESULTS.md", prepared / "images" / "weights.png"
    done = run_main("superb_report", "--results", *folders, "--picture", image, "--output", page)
    assert done.returncode == 0, done.stderr
    text = page.read_text()
    assert "|task|metric|items|ours|fbank|random|" in text and "](images/weights.png)" in text
    assert "|keyword spotting (ks)|accuracy|9|" in text and image.is_file()


def test_what_is_wrong_is_one_line(prepared, judge, run_main, corpus):
    (prepared / "odd.yaml").write_text("ks: {step: 5}\n")
    wrong = (
        (judge("x"), "one of --features and --upstream expected"),
        (judge("x", "--features", prepared / "gone"), "extract the layers first"),
        (judge("x", "--upstream", "fbank", config="odd.yaml"), "got 'step'; the nearest is steps"),
        (judge("x", "--upstream", prepared / "data"), "no usable Hugging Face model"),
        (
            run_main(
                *("prepare_superb", "--task", "sd", "--corpus", corpus),
                *("--output", prepared / "sd"),
            ),
            "Libri2Mix expected, but",
        ),
    )
    for done, message in wrong:
        assert done.returncode == 1 and message in done.stderr, (message, done.stderr)
        assert done.stderr.splitlines()[-1].startswith("error: ")
    assert not (prepared / "heads" / "x").exists()


def test_a_configuration_of_other_tasks_is_refused(prepared, judge):
    (prepared / "odd.yaml").write_text("kx: {steps: 5}\n")
    done = judge("x", "--upstream", "fbank", config="odd.yaml")
    assert done.returncode == 1 and "got 'kx'; the nearest is ks" in done.stderr
    (prepared / "odd.yaml").write_text("ks: {steps: 0}\n")
    done = judge("x", "--upstream", "fbank", config="odd.yaml")
    assert done.returncode == 1 and "values of 1 or more" in done.stderr
