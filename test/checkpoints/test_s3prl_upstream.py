"""SpeechLM as an upstream of s3prl: layers, padding, short inputs, and its place in a clone."""

import importlib.util
import subprocess
import sys

import pytest
import torch

import speechlm
from speechlm.checkpoints.s3prl_upstream import NAME, UpstreamExpert, lengthened

HUB = "from s3prl.upstream.apc.hubconf import *\nfrom s3prl.upstream.wavlm.hubconf import *\n\n\n"
OPTIONS = "def options():\n    return [name for name in globals() if not name.startswith('_')]\n"


@pytest.fixture
def clone(tmp_path):
    """The skeleton of a clone of s3prl."""
    package = tmp_path / "clone" / "s3prl"
    for name in ("", "upstream", "upstream/apc", "upstream/wavlm"):
        (package / name).mkdir(parents=True, exist_ok=True)
        (package / name / "__init__.py").touch()
        (package / name / "hubconf.py").touch()
    (package / "hub.py").write_text(HUB + OPTIONS)
    return tmp_path / "clone"


def noise(*lengths):
    random = torch.Generator().manual_seed(0)
    return [0.1 * torch.randn(n, generator=random) for n in lengths]


@pytest.mark.parametrize("size", ["base", "fast_base"])
def test_layers_are_those_of_the_model_and_padding_changes_none(size, model_folder):
    folder = model_folder(size, shared_layerdrop=0.9)
    upstream = UpstreamExpert(folder, model_config=None, refresh=False).train()
    own = speechlm.SpeechLM.from_pretrained(folder, ignore_padding=True)
    assert len({layer[0, 0, 0].item() for layer in upstream(noise(9000))["hidden_states"]}) == 4
    upstream.eval()
    waves = noise(9000, 5000)
    found = upstream(waves)
    assert len(found["hidden_states"]) == 4
    for wave, row in zip(waves, range(2), strict=True):
        layers, (frames,) = own.extract_features(wave[None], layers="all")
        for n, layer in enumerate(layers):
            alone = found["hidden_states"][n][row, :frames]
            torch.testing.assert_close(alone, layer[0], atol=1e-5, rtol=1e-4)
            assert found[f"hidden_state_{n}"] is found["hidden_states"][n]
    assert upstream.get_downsample_rates("hidden_states") == own.framing.shift
    assert {own.config.shared_layerdrop, upstream.model.config.shared_layerdrop} == {0.9, 0.0}
    sum(layer.sum() for layer in found["hidden_states"]).backward()
    assert upstream.model.encoder.layers[0].fc1.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("size", ["base", "fast_base"])
def test_short_inputs_have_as_many_frames_as_s3prl_takes(size, model_folder):
    upstream = UpstreamExpert(model_folder(size)).eval()
    framing, shift = upstream.model.framing, upstream.get_downsample_rates()
    for samples in (*range(1, 6 * shift, 7), framing.window - 1, framing.window):
        longer = lengthened(torch.ones(samples), framing)
        expected, frames = -(-samples // shift), framing.frames(len(longer))
        assert max(expected, frames) // min(expected, frames) == 1, samples  # what s3prl asserts
        assert longer.sum() == samples
        if framing.frames(samples) > 4:
            assert len(longer) == samples
    assert upstream(noise(1, 50))["hidden_states"][0].shape[:2] == (2, 1)


def test_wrong_input_is_named(model_folder, tmp_path):
    upstream = UpstreamExpert(model_folder())
    for wrong in ([], [torch.zeros(1, 900)], [torch.zeros(0)]):
        with pytest.raises(ValueError, match=r"waveforms of shape \(samples,\) expected"):
            upstream(wrong)
    for wrong, message in (
        ([torch.zeros(900).short()], "divide 16-bit integers by 32768"),
        (
            [torch.zeros(900), torch.full((900,), torch.nan)],
            "finite samples expected, some of row 1",
        ),
        ([[0.0] * 900], "a list of torch.Tensor expected, got list"),
    ):
        with pytest.raises(ValueError, match=message):
            upstream(wrong)
    with pytest.raises(ValueError, match="no trained model"):
        UpstreamExpert(tmp_path)
    with pytest.raises(ValueError, match=r"folder of a SpeechLM expected .*-k FOLDER"):
        UpstreamExpert(None)


@pytest.mark.parametrize("where", [".", "s3prl"])
def test_it_is_put_into_a_clone_once(where, clone, model_folder, run_main, root):
    for _ in range(2):
        done = run_main("install_s3prl", "--s3prl", clone / where)
        assert done.returncode == 0, done.stderr
    text = (clone / "s3prl" / "hub.py").read_text()
    line = f"from s3prl.upstream.{NAME}.hubconf import *\n"
    assert text == HUB.rstrip() + "\n" + line + "\n\n" + OPTIONS
    code = (
        "import sys, s3prl.hub as hub; from s3prl.upstream.speechlm.expert import UpstreamExpert\n"
        "assert 'speechlm' in hub.options()\n"
        "assert isinstance(hub.speechlm(ckpt=sys.argv[1], refresh=False), UpstreamExpert)\n"
    )
    command = [sys.executable, "-c", code, str(model_folder())]
    paths = {"PYTHONPATH": f"{clone}:{root}"}
    found = subprocess.run(command, env=paths, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr


def test_another_folder_is_refused(clone, run_main, tmp_path):
    assert "a clone of s3prl" in run_main("install_s3prl", "--s3prl", tmp_path).stderr
    (clone / "s3prl" / "hub.py").write_text("def options():\n    pass\n")
    assert "found none" in run_main("install_s3prl", "--s3prl", clone).stderr


def test_s3prl_itself_takes_it(model_folder):
    """Its upstream class and featurizer, where s3prl is installed and can be imported."""
    if importlib.util.find_spec("s3prl") is None:
        pytest.skip("s3prl is not installed")
    try:
        import s3prl.hub
        from s3prl.nn import Featurizer, S3PRLUpstream
    except (ImportError, AttributeError, OSError) as error:
        pytest.skip(f"s3prl cannot be imported beside these packages: {error}")
    s3prl.hub.speechlm = UpstreamExpert
    waves = noise(16000, 9000)
    padded, lengths = torch.nn.utils.rnn.pad_sequence(waves, True), torch.tensor([16000, 9000])
    for size in ("base", "fast_base"):
        upstream = S3PRLUpstream("speechlm", str(model_folder(size))).eval()
        featurizer = Featurizer(upstream)
        features, frames = featurizer(*upstream(padded, lengths))
        assert upstream.num_layers == 4 and frames[0] == features.shape[1]
        alone, _ = featurizer(*upstream(padded[1:, :9000], lengths[1:]))
        valid = upstream.upstream.model.framing.frames(9000)
        torch.testing.assert_close(alone[0, :valid], features[1, :valid], atol=1e-4, rtol=1e-3)
