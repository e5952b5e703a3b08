"""Pre-training on hidden units: from audio to k-means labels to a model, on speech alone."""

import shutil

import pytest

from speechlm.checkpoints.model_dir import load_speechlm
from speechlm.checkpoints.trainer_files import load_weights_only
from speechlm.data.archives import merge_archives
from speechlm.data.kaldi_dir import DataDir
from speechlm.tasks.run_pretrain import pretrain
from speechlm.tokenizers.frame_sample import Sampling, sample_data
from speechlm.tokenizers.hidden_speech import HiddenSpeechTokenizer, label_data
from speechlm.tokenizers.kmeans import train_kmeans
from speechlm.tokenizers.speech_features import open_features

N_CLUSTERS = 12


def make_units(train, dev, features, seed=0):
    """Cluster the features of train, and label train and dev with them (units_hidden)."""
    sample = sample_data(DataDir.read(train), features, Sampling(seed), {})
    tokenizer = HiddenSpeechTokenizer(features, train_kmeans(sample, N_CLUSTERS, seed, n_init=3))
    for folder in (train, dev):
        label_data(DataDir.read(folder), tokenizer, folder / "units_hidden")
        merge_archives(folder / "units_hidden", 1)


@pytest.fixture(scope="module")
def work(tmp_path_factory, chords):
    """train and dev with units of MFCC."""
    folder = tmp_path_factory.mktemp("hidden")
    for part in ("train", "dev"):
        shutil.copytree(chords / part, folder / part)
    make_units(folder / "train", folder / "dev", open_features("mfcc"))
    return folder


def options(work, **changes):
    given = {"speech_dir": work / "train", "dev_dir": work / "dev", "units": "units_hidden"}
    return given | {"seed": 3} | changes


def test_two_iterations(work, tmp_path, config_values):
    """MFCC units, a model, units of one of its layers, a model that starts from the first."""
    path = config_values(tmp_path, "pretrain")
    first = pretrain(tmp_path / "first", path, options(work))
    model, vocabulary = load_speechlm(first)
    assert model.config.label_rate == 50  # that of the units
    assert vocabulary.symbols == tuple(str(n) for n in range(N_CLUSTERS))
    assert model.unit_embed_tokens.weight.shape[0] == N_CLUSTERS + 5
    stats = load_weights_only(first / "checkpoint.pth")["reporter"]["stats"]
    assert stats[3]["valid"]["loss_top"] < 0.95 * stats[1]["train"]["loss_top"]
    make_units(work / "train", work / "dev", open_features("speechlm", first, 1))
    again = options(work, init_speech=first)
    second = pretrain(tmp_path / "second", path, again)
    assert "taken: encoder.layers.0.fc1.weight" in (second / "init_speech.txt").read_text()
    assert load_speechlm(second)[1].symbols == vocabulary.symbols


def test_a_second_iteration_of_a_fast_model_has_25_labels_a_second(work, tmp_path, config_values):
    """Units of MFCC every 20 ms, then of its own frames of 40 ms; it learns from both."""
    small = {"embed_dim": 32, "ffn_dim": 64, "heads": 2, "subsampling_channels": 16}
    path = config_values(tmp_path, "pretrain", config_size="fast_tiny", model_conf=small)
    parts = [tmp_path / part for part in ("train", "dev")]
    for part in parts:
        shutil.copytree(work / part.name, part)
    features = open_features("mfcc")
    for rate in (50, 25):
        make_units(*parts, features)
        folder = pretrain(tmp_path / f"at_{rate}", path, options(tmp_path))
        assert load_speechlm(folder)[0].config.label_rate == rate
        stats = load_weights_only(folder / "checkpoint.pth")["reporter"]["stats"]
        assert stats[3]["valid"]["loss_top"] < stats[1]["train"]["loss_top"]
        features = open_features("speechlm", folder, 1)


def test_labels_of_another_rate_or_dictionary_are_refused(work, tmp_path, config_values):
    path = config_values(tmp_path, "pretrain")
    with pytest.raises(ValueError, match="50 labels a second, but the model's label_rate is 100"):
        pretrain(tmp_path / "a", path, options(work), ["--model_conf", "label_rate=100"])
    shutil.copytree(work / "train", tmp_path / "odd")
    (tmp_path / "odd" / "units_hidden" / "frame_shift").write_text("0.04\n")
    with pytest.raises(ValueError, match=r"frame_shift does not fit the model: .*50 Hz\), got 25"):
        pretrain(tmp_path / "a", path, options(work, speech_dir=tmp_path / "odd"))
    shutil.copytree(work / "dev", tmp_path / "other")
    tokens = tmp_path / "other" / "units_hidden" / "tokens.txt"
    tokens.write_text("".join(f"{n}\n" for n in range(N_CLUSTERS + 3)))
    with pytest.raises(ValueError, match=r"\(15\) and .*\(12\) differ"):
        pretrain(tmp_path / "b", path, options(work, dev_dir=tmp_path / "other"))


def test_labels_of_another_clustering_are_refused(work, tmp_path, config_values):
    """Clusters of any two clusterings have the same names, but nothing else in common."""
    path = config_values(tmp_path, "pretrain")
    for part in ("train", "dev"):
        shutil.copytree(work / part, tmp_path / part)
    make_units(tmp_path / "train", tmp_path / "dev", open_features("mfcc"), seed=7)
    dry = ["--dry_run", "true"]
    pretrain(tmp_path / "a", path, options(tmp_path), dry)
    with pytest.raises(ValueError, match="two clusterings"):  # in the folder of another training
        pretrain(tmp_path / "a", path, options(work), dry)
    with pytest.raises(ValueError, match="two clusterings"):
        pretrain(tmp_path / "b", path, options(work, dev_dir=tmp_path / "dev"))
