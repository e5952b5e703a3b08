"""Training of the frame classifier through ESPnet, on separable frames."""

import numpy as np
import pytest
import yaml

from speechlm.data.archives import ArchiveReader, ArchiveWriter
from speechlm.recognizer.network import Network
from speechlm.recognizer.network_data import ClassTable
from speechlm.recognizer.topology import BASE_OF_PHONE, N_PDFS
from speechlm.tasks.run_phone_model import train_phone_model

CONFIG = {
    "network_conf": {"width": 32, "bottleneck": 16, "dilations": [1], "input_dim": 6},
    "model_conf": {"noise": 0.0, "max_mask": 3},
    "max_epoch": 3,
    "batch_type": "numel",
    "batch_bins": 2000,
    "optim": "adam",
    "optim_conf": {"lr": 0.01},
    "best_model_criterion": [["valid", "class_loss", "min"]],
    "keep_nbest_models": 1,
    "num_workers": 0,
}


def make_data(folder, rng):
    """Frames whose first six values name the class; state = 3 x class."""
    for part, count in (("train", 60), ("valid", 6)):
        target = folder / part
        target.mkdir(parents=True)
        names = ("feats", "classes", "states")
        writers = [ArchiveWriter(target, name, 1) for name in names]
        for writer in writers:
            writer.__enter__()
        for number in range(count):
            classes = np.repeat(rng.integers(0, 6, 12), 6)
            frames = np.eye(6, dtype=np.float32)[classes] * 2 + rng.normal(0, 0.3, (72, 6))
            for writer, value in zip(writers, (frames, classes, 3 * classes), strict=True):
                writer.write(f"u{number:02d}", value)
        for name, writer in zip(names, writers, strict=True):
            writer.__exit__(None, None, None)
            (target / f"{name}.1.scp").rename(target / f"{name}.scp")
    table = np.where(BASE_OF_PHONE >= 0, BASE_OF_PHONE % 6, -1)[None].repeat(40, axis=0)
    ClassTable(
        table, np.full((6, 2), np.log(0.5)), np.full(6, np.log(1 / 6)), np.zeros(N_PDFS)
    ).save(folder / "classes.npz")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("phone_model")
    make_data(folder / "data", np.random.default_rng(0))
    (folder / "conf.yaml").write_text(yaml.safe_dump(CONFIG))
    train_phone_model(folder / "network", str(folder / "conf.yaml"), folder / "data", {})
    return folder


def test_the_network_learns_and_is_read_back(trained):
    network = Network.load(trained / "network")
    valid = trained / "data" / "valid"
    feats, classes = (ArchiveReader(valid / f"{n}.scp") for n in ("feats", "classes"))
    for utterance in feats:
        at_30_ms, at_10_ms = network.scores(feats[utterance])
        truth = classes[utterance]
        assert at_30_ms.shape == (24, 6) and at_10_ms.shape == (72, N_PDFS)
        assert (at_30_ms.argmax(1) == truth[1::3]).mean() > 0.9
        posterior = at_10_ms + network.classes.state_prior
        assert (posterior.argmax(1) == 3 * truth).mean() > 0.8
        assert np.allclose(at_30_ms, network.class_scores(feats[utterance]), atol=1e-4)
        assert np.allclose(np.exp(at_30_ms + network.classes.class_prior).sum(1), 1, atol=1e-4)


def test_training_goes_on_from_the_last_epoch(trained):
    config, options = str(trained / "conf.yaml"), {"max_epoch": 4}
    train_phone_model(trained / "network", config, trained / "data", options)
    log = (trained / "network_train" / "train.log").read_text()
    assert log.count("1/3epoch started") == 1
    assert "4/4epoch started" in log and "1/4epoch started" not in log


@pytest.mark.parametrize(
    ("key", "value", "near"),
    [
        ("network_conf", {"widht": 3}, "width"),
        ("model_conf", {"noize": 1}, "noise"),
        ("max_epochs", 3, "max_epoch"),
    ],
)
def test_unknown_keys_name_the_nearest(trained, tmp_path, key, value, near):
    (tmp_path / "conf.yaml").write_text(yaml.safe_dump({**CONFIG, key: value}))
    with pytest.raises(ValueError, match=f'nearest valid one is "{near}"'):
        train_phone_model(tmp_path / "x", str(tmp_path / "conf.yaml"), trained / "data", {})
