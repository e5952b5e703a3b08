"""The network as files, and its scores beside the Gaussians'."""

import numpy as np
import pytest
import torch

from speechlm.recognizer.contexts import N_BASE
from speechlm.recognizer.model import Frames
from speechlm.recognizer.network import GAUSSIAN_SHARE, Network, joint_scores
from speechlm.recognizer.network_data import ClassTable
from speechlm.recognizer.phone_acoustic import PhoneAcousticConfig, PhoneAcousticModel
from speechlm.recognizer.topology import BASE_OF_PHONE, N_PDFS


@pytest.fixture
def network():
    torch.manual_seed(0)
    table = np.where(BASE_OF_PHONE >= 0, BASE_OF_PHONE, -1)[None].repeat(N_BASE, axis=0)
    rng = np.random.default_rng(0)
    priors = [np.log(rng.dirichlet(np.ones(n))) for n in (N_BASE, N_PDFS)]
    config = PhoneAcousticConfig(N_BASE, N_PDFS, width=16, bottleneck=8, dilations=(1,))
    return Network(PhoneAcousticModel(config), ClassTable(table, np.zeros((N_BASE, 2)), *priors))


def test_files_hold_everything(network, tmp_path):
    x = np.random.default_rng(1).normal(size=(20, 40)).astype(np.float32)
    network.save(tmp_path / "network")
    same = Network.load(tmp_path / "network")
    for a, b in zip(network.scores(x), same.scores(x), strict=True):
        assert np.allclose(a, b, atol=1e-5)
    assert not list((tmp_path / "network").glob("*.p*"))  # no pickles
    with pytest.raises(ValueError, match="train_phone_model"):
        Network.load(tmp_path)


def test_scores_are_posteriors_over_priors(network):
    x = np.random.default_rng(2).normal(size=(20, 40)).astype(np.float32)
    classes, states = network.scores(x)
    assert classes.shape == (7, N_BASE) and states.shape == (20, N_PDFS)
    assert np.allclose(np.exp(classes + network.classes.class_prior).sum(1), 1, atol=1e-4)
    assert np.allclose(np.exp(states + network.classes.state_prior).sum(1), 1, atol=1e-4)
    assert np.allclose(states, network.state_scores(x), atol=1e-4)
    assert np.allclose(classes, network.class_scores(x), atol=1e-4)


def test_joint_scores_add_the_gaussians(network):
    class Model:
        @staticmethod
        def scores(frames):
            return frames.gaussian[:, :1] + np.zeros((1, N_PDFS), np.float32)

    x = np.random.default_rng(3).normal(size=(9, 40)).astype(np.float32)
    frames = Frames(np.full((9, 39), 5.0, np.float32), x)
    expected = 5.0 * GAUSSIAN_SHARE + network.state_scores(x)
    assert np.allclose(joint_scores(Model, frames, network.state_scores(x)), expected)
