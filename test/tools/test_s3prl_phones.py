"""The comparison with s3prl's engine: what it reads, what is counted; s3prl itself where it is."""

import importlib.util
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
import yaml
from scipy import stats

from speechlm.superb.metrics import Ratio
from speechlm.superb.results import write_result
from speechlm.superb.training import Verdict
from speechlm.superb.upstream import Description

FBANK = Description("fbank", 1, 240, 400, 160)
CONFIG = {"pr": {"steps": 4, "batch": 2, "accumulate": 1, "evaluate": 2, "rates": [0.01]}}


@pytest.fixture(scope="module")
def tool(root):
    """The module."""
    spec = importlib.util.spec_from_file_location(
        "s3prl_phones", root / "tools" / "s3prl_phones.py"
    )
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


@pytest.fixture
def librispeech(tmp_path):
    """A corpus of noise in LibriSpeech's layout."""
    noise = 0.1 * np.random.default_rng(0).normal(size=16000)
    texts = {"train-clean-100": "THE CAT SAT", "dev-clean": "A CAT", "test-clean": "THE DOG SAT"}
    for speaker, (part, text) in enumerate(texts.items(), 1):
        folder = tmp_path / "LibriSpeech" / part / str(speaker) / "7"
        folder.mkdir(parents=True)
        rows = []
        for n in range(3):
            soundfile.write(folder / f"{speaker}-7-000{n}.flac", noise[: 9000 + 900 * n], 16000)
            rows.append(f"{speaker}-7-000{n} {text}\n")
        (folder / f"{speaker}-7.trans.txt").write_text("".join(rows))
    return tmp_path / "LibriSpeech"


@pytest.fixture
def compare(root, tmp_path, librispeech):
    """Function: run the tool on heads with such errors by seed at such a rate."""

    def run(errors, rate=0.01):
        scores = [Ratio(np.array([e]), np.array([100.0])) for e in errors]
        tested = Verdict({rate: 1.0}, rate, {"PER": scores}, [np.ones(1)] * len(errors))
        write_result(tmp_path / "heads", "pr", "fbank", FBANK, tested, range(1, len(errors) + 1))
        (tmp_path / "pr.yaml").write_text(yaml.safe_dump(CONFIG))
        command = [sys.executable, root / "tools" / "s3prl_phones.py", "--corpus", librispeech]
        command += ["--heads", tmp_path / "heads", "--config", tmp_path / "pr.yaml"]
        command += ["--output", tmp_path / "out"]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    return run


def test_difference_with_its_interval(tool):
    parts = [Ratio(np.array([e]), np.array([100.0])) for e in (30.0, 31.0, 32.0)]
    ours = SimpleNamespace(model="m", seeds=[1, 2, 3], scores={"PER": parts})
    found = tool.compared([31.0, 33.0, 35.0], ours)
    # Variances 1 and 4 of 3 seeds each: Welch's standard error and degrees of freedom
    a, b = 1 / 3, 4 / 3
    half = stats.t.ppf(0.975, (a + b) ** 2 / (a**2 / 2 + b**2 / 2)) * np.sqrt(a + b)
    np.testing.assert_allclose(found["interval"], [-2 - half, -2 + half])
    assert tool.row(found).startswith("| m | 31.00 ± 1.00 | 33.00 ± 2.00 | -2.00 (-6.")


def test_errors_are_counted_by_both(tool, tmp_path):
    place = tmp_path / "evaluate" / "valid_best" / "test-clean"
    place.mkdir(parents=True)
    (place / "hyp").write_text("a AH B\nb \n")
    (place / "ref").write_text("a AH0 B C\nb D\n")
    (place / "result.yaml").write_text("{loss: 1.0, per: 0.75}\n")
    assert tool.tested(tmp_path) == 75
    (place / "result.yaml").write_text("{loss: 1.0, per: 0.5}\n")
    with pytest.raises(ValueError, match="PER of s3prl 50.000000, of ours 75.000000"):
        tool.tested(tmp_path)


def test_what_s3prl_reads(tool, librispeech, tmp_path):
    tool.make_corpus(librispeech, tmp_path / "corpus")
    assert len([*(tmp_path / "corpus" / "dev-clean").rglob("*.flac")]) == 3
    speakers = (tmp_path / "corpus" / tool.SPEAKERS).read_text().splitlines()
    assert [line.split("|")[0] for line in speakers] == ["ID", "1", "2", "3"]
    lexicon = (tmp_path / "corpus" / tool.LEXICON).read_text().splitlines()
    assert [line.split()[0] for line in lexicon] == ["A", "CAT", "DOG", "SAT", "THE"]
    assert lexicon[1] == "CAT K AE1 T"


def test_a_frozen_upstream_sees_a_batch_once(tool):
    calls = []

    class Problem:
        def build_upstream(self, build_upstream):
            def forward(wavs, lengths):
                calls.append(build_upstream["name"])
                return wavs + 1

            return SimpleNamespace(forward=forward)

    problem, lengths = tool.remembering(Problem), torch.tensor([4, 3])
    waves = torch.zeros(2, 4)
    first = problem().build_upstream({"name": "fbank"}).forward
    again = problem().build_upstream({"name": "fbank"}).forward
    other = problem().build_upstream({"name": "mfcc"}).forward
    assert first(waves, lengths) is again(waves.clone(), lengths.clone())
    first(waves, torch.tensor([4, 2])), again(waves + 1, lengths), other(waves, lengths)
    assert calls == ["fbank", "fbank", "fbank", "mfcc"]


def test_heads_that_cannot_be_compared_are_refused(compare):
    for errors, rate in (([30.0], 0.01), ([30.0, 31.0], 0.03)):
        done = compare(errors, rate)
        assert done.returncode == 1
        assert "heads of pr with the single rate of" in done.stderr and "fbank" in done.stderr


def test_s3prl_itself(compare, tmp_path):
    if importlib.util.find_spec("s3prl") is None:
        done = compare([30.0, 31.0])
        assert done.returncode == 1 and "doc/superb.md says how it is installed" in done.stderr
        pytest.skip("s3prl is not installed")
    done = compare([30.0, 31.0])
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("| fbank | 30.50 ± 0.71 | ")
    assert (tmp_path / "out" / "fbank" / "2").is_dir()
