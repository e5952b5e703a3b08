"""The mains of hidden units, from audio to labels, in jobs and from archives."""

import importlib
import io
import logging
import sys

import numpy as np
import pytest
import soundfile

from speechlm.data.archives import ArchiveReader, merge_archives, n_labels, read_unit_info
from speechlm.data.audio import read_audio
from speechlm.data.dir_parts import split
from speechlm.data.kaldi_dir import DataDir
from speechlm.data.unit_index import check_units
from speechlm.tokenizers.feature_stream import FeatureArchive, write_features
from speechlm.tokenizers.hidden_speech import HiddenSpeechTokenizer, label_data
from speechlm.tokenizers.kmeans import KMeans
from speechlm.tokenizers.speech_features import open_features


@pytest.fixture(scope="module")
def work(tmp_path_factory, make_tones):
    """A folder with data/, in which the last two of nine utterances are bad, and data/split3/."""
    folder = tmp_path_factory.mktemp("work")
    data = make_tones(folder / "data", 9)
    soundfile.write(data.wav[data.ids[-1]], np.zeros(9000), 16000)
    data.n_samples[data.ids[-1]] = 9000
    with open(data.wav[data.ids[-2]], "wb") as file:
        file.write(b"no audio")
    data.write(folder / "data")
    split(folder / "data", folder / "data" / "split3", 3)
    return folder


@pytest.fixture(scope="module")
def call(work):
    """Run a main in the folder, in this process: what it logs, or the error that is expected."""

    def run(name: str, *arguments: object, fails: bool = False) -> str:
        main = importlib.import_module(f"speechlm.bin.{name}").main
        stream = io.StringIO()
        handler = logging.StreamHandler(stream)
        logger = logging.getLogger()
        level = logger.level
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", [name, *map(str, arguments)])
            patch.chdir(work)
            logger.addHandler(handler)
            logger.setLevel(logging.INFO)
            try:
                if not fails:
                    main()
                    return stream.getvalue()
                with pytest.raises(ValueError) as error:
                    main()
                return str(error.value)
            finally:
                logger.removeHandler(handler)
                logger.setLevel(level)

    return run


TRAIN = ("--n_clusters", 6, "--seed", 2, "--n_init", 3)


@pytest.fixture(scope="module")
def clusters(call, work):
    """A k-means file of MFCC computed on the fly."""
    call("train_kmeans", "--data_dir", "data", *TRAIN, "--output", "km/kmeans.npz")
    return work / "km" / "kmeans.npz"


def test_bad_utterances_are_listed_when_training(clusters, work):
    ids = DataDir.read(work / "data").ids
    lines = (clusters.parent / "skipped.1").read_text().splitlines()
    assert [line.split()[0] for line in lines] == ids[-2:]
    assert "silence only" in lines[1]
    training = KMeans.load(clusters).training
    assert training["utterances"] == 7 and training["frames"] == training["frames_seen"]


def test_jobs_and_archives_give_the_same_centres(clusters, call, work):
    for job in (1, 2, 3):
        part = ("--data_dir", f"data/split3/{job}", "--job", job)
        call("sample_features", *part, "--output", "samples", "--seed", 2)
        call("speech_features", *part, "--output", "feats")
    call("merge_units", "--input", "feats", "--n", 3, "--name", "feats")
    call("train_kmeans", "--samples", "samples", "--n", 3, *TRAIN, "--output", "km/s.npz")
    feats = ("--data_dir", "data", "--feats", "feats")
    call("train_kmeans", *feats, *TRAIN, "--output", "km/f.npz")
    centres = KMeans.load(clusters).centres
    for name in ("s.npz", "f.npz"):
        assert np.array_equal(KMeans.load(clusters.parent / name).centres, centres)
    call("apply_kmeans", "--kmeans", clusters, *feats, "--output", "from_feats")
    call("apply_kmeans", "--kmeans", clusters, "--data_dir", "data", "--output", "live")
    assert (work / "live/units.1.ark").read_bytes() == (
        work / "from_feats/units.1.ark"
    ).read_bytes()
    message = call("train_kmeans", *TRAIN, "--output", "km/x.npz", fails=True)
    assert "one of --data_dir and --samples expected" in message


def test_labels_in_jobs(clusters, call, work):
    for job in (1, 2, 3):
        part = ("--data_dir", f"data/split3/{job}", "--job", job)
        call("apply_kmeans", "--kmeans", clusters, *part, "--output", "data/units_hidden")
    merge = ("merge_units", "--input", "data/units_hidden", "--n", 3, "--data", "data")
    assert "7 utterances of 3 jobs, 2 left out by them" in call(*merge)
    folder, data = work / "data/units_hidden", DataDir.read(work / "data")
    shift, tokens = read_unit_info(folder)
    assert (shift, tokens.symbols) == (0.02, tuple(map(str, range(6))))
    units = ArchiveReader(folder / "units.scp")
    good = data.ids[:7]
    assert list(units) == good
    assert check_units(folder, work / "data", skipped=set(data.ids) - set(good)) == {}
    assert len(np.unique(np.concatenate([units[u] for u in good]))) == 6
    tokenizer = HiddenSpeechTokenizer.load(clusters)
    for utterance in good:
        assert np.array_equal(tokenizer(read_audio(data.wav[utterance])), units[utterance])
    (folder / "skipped.3").write_text("")
    assert f"{data.ids[-1]}: no units" in call(*merge, fails=True)


def test_jobs_with_different_clusterings_are_not_merged(clusters, call, work):
    folder = work / "mixed"
    for job, seed in ((1, 2), (2, 5)):
        call(
            *("train_kmeans", "--data_dir", "data", "--output", f"seed{seed}.npz"),
            *(*TRAIN, "--seed", seed),
        )
        part = f"data/split3/{job}"
        call(
            "apply_kmeans",
            "--kmeans",
            f"seed{seed}.npz",
            "--data_dir",
            part,
            "--output",
            folder,
            "--job",
            job,
        )
    error = call("merge_units", "--input", folder, "--n", 2, fails=True)
    assert "job 1: kmeans-" in error and "job 2: kmeans-" in error
    assert not (folder / "units.scp").exists()
    error = call("merge_units", "--input", folder, "--n", 3, fails=True)
    assert "job 3 of 3 has not written it" in error
    call(
        "apply_kmeans",
        "--kmeans",
        "seed2.npz",
        "--data_dir",
        "data/split3/2",
        "--output",
        folder,
        "--job",
        2,
    )
    call("merge_units", "--input", folder, "--n", 2)
    assert (folder / "tokens.origin").read_text() == (folder / "origin.1").read_text()


def test_tones_become_units(clusters, work, make_tones, tmp_path):
    """A unit stands for one pitch: within a tone it stays, and it is the same in other speech."""
    data = make_tones(tmp_path / "other", 5, seed=9)
    tokenizer = HiddenSpeechTokenizer.load(clusters)
    runs, units_of = 0, {}
    for utterance in data.ids:
        wave = read_audio(data.wav[utterance])
        units = tokenizer(wave)
        assert len(units) == n_labels(len(wave), 0.02)
        frames = np.stack([wave[320 * t : 320 * t + 400] for t in range(len(units))])
        pitch = np.abs(np.fft.rfft(frames * np.hanning(400))).argmax(1)
        runs += (np.diff(units) != 0).mean()
        for unit, bin_ in zip(units.tolist(), pitch.tolist(), strict=True):
            units_of.setdefault(bin_, []).append(unit)
    assert runs / len(data) < 0.4
    often = [
        np.bincount(found).max() / len(found) for found in units_of.values() if len(found) > 20
    ]
    assert len(often) >= 4 and np.mean(often) > 0.8


COARSE = {"conv_layers": [[16, 10, 5]] + [[16, 3, 2]] * 5 + [[16, 2, 2]] * 2, "label_rate": 25}


@pytest.mark.parametrize("size, changes", [("base", COARSE), ("fast_base", {})])
def test_units_last_as_long_as_the_models_frames(model_folder, make_tones, tmp_path, size, changes):
    """40 ms, of windows of 800 or 880 samples; counted as always, and from archives alike."""
    folder = model_folder(size, **changes)
    source, data = open_features("speechlm", folder, 1), make_tones(tmp_path / "data", 3)
    write_features(data, source, tmp_path / "feats")
    merge_archives(tmp_path / "feats", 1, "feats")
    archive = FeatureArchive(tmp_path / "feats")
    centres = np.random.default_rng(0).normal(size=(5, 32)).astype(np.float32)
    found = []
    for name, features in (("computed", source), ("read", archive)):
        tokenizer = HiddenSpeechTokenizer(features, KMeans(centres, source.config))
        label_data(data, tokenizer, tmp_path / name)
        merge_archives(tmp_path / name, 1, "units")
        assert read_unit_info(tmp_path / name)[0] == archive.frame_shift == 0.04
        data.write(tmp_path / "data")
        assert check_units(tmp_path / name, tmp_path / "data") == {}
        found.append(dict(ArchiveReader(tmp_path / name / "units.scp")))
    for utterance in data.ids:
        assert np.array_equal(found[0][utterance], found[1][utterance])


def test_km_files_go_out_and_come_back(clusters, call, work):
    good = DataDir.read(work / "data").ids[:7]
    DataDir.read(work / "data").subset(good).write(work / "good")
    call(
        "apply_kmeans", "--kmeans", clusters, "--data_dir", "good", "--output", "good/units_hidden"
    )
    call("merge_units", "--input", "good/units_hidden", "--n", 1, "--data", "good")
    call(
        "export_fairseq",
        "--input",
        "good",
        "--units",
        "units_hidden",
        "--suffix",
        "km",
        "--output",
        "fairseq",
    )
    assert (work / "fairseq/dict.km.txt").read_text().startswith("0 0\n1 1\n")
    call(
        "import_fairseq",
        "--tsv",
        "fairseq/train.tsv",
        "--labels",
        "fairseq/train.km",
        "--dict",
        "fairseq/dict.km.txt",
        "--frame_shift",
        "0.02",
        "--units",
        "units_hidden",
        "--output",
        "back",
    )
    before, after = (ArchiveReader(work / f / "units_hidden/units.scp") for f in ("good", "back"))
    assert len(after) == 7 and all(np.array_equal(before[u], after[u]) for u in good)
    there, back = (read_unit_info(work / name / "units_hidden") for name in ("good", "back"))
    assert there[0] == back[0] and there[1].symbols == back[1].symbols


def test_features_of_another_model_are_refused(call, work, model_folder, huggingface_folder):
    folder, other = model_folder(), model_folder(seed=1)
    source = ("--features", "speechlm", "--model", folder, "--layer", 2)
    call("train_kmeans", "--data_dir", "data", *source, *TRAIN, "--output", "km/model.npz")
    apply = ("apply_kmeans", "--kmeans", "km/model.npz", "--data_dir", "data", "--output", "u")
    assert "left out" in call(*apply)
    assert "different features: weights" in call(*apply, "--model", other, fails=True)
    call("speech_features", "--data_dir", "data", "--output", "mfcc")
    call("merge_units", "--input", "mfcc", "--n", 1, "--name", "feats")
    assert "kind speechlm and mfcc" in call(*apply, "--feats", "mfcc", fails=True)
    hugging = ("--features", "huggingface", "--model", huggingface_folder(), "--layer", 2)
    call("train_kmeans", "--data_dir", "data", *hugging, *TRAIN, "--output", "km/h.npz")
    assert KMeans.load(work / "km/h.npz").centres.shape == (6, 24)


def test_errors(call, work):
    train = ("train_kmeans", "--data_dir", "data", "--output", "km/none.npz")
    message = call(*train, "--n_clusters", 5000, fails=True)
    assert "5000 clusters from" in message and "7 utterances" in message
    assert not (work / "km/none.npz").exists()
    assert "0 frames of 0 utterances" in call(*train, "--portion", "1e-9", fails=True)
    assert "MFCC come from no model" in call(*train, "--layer", 3, fails=True)
    assert "torch finds no GPU" in call(*train, "--ngpu", 1, fails=True)
    bad = DataDir.read(work / "data")
    bad.subset(bad.ids[-2:]).write(work / "bad")
    call("train_kmeans", "--data_dir", "data", *TRAIN, "--output", "km/kmeans2.npz")
    call("apply_kmeans", "--kmeans", "km/kmeans2.npz", "--data_dir", "bad", "--output", "none")
    message = call("merge_units", "--input", "none", "--n", 1, fails=True)
    assert "no job has made any units" in message and bad.ids[-1] in message


@pytest.mark.parametrize(
    "name", ["speech_features", "sample_features", "train_kmeans", "apply_kmeans", "unit_quality"]
)
def test_help(name, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    with pytest.raises(SystemExit) as end:
        importlib.import_module(f"speechlm.bin.{name}").main()
    assert end.value.code == 0 and "usage" in capsys.readouterr().out
