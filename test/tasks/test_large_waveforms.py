"""Guards of doc/traps.md: training settings of the paper, and waveforms as Large sees them."""

import numpy as np
import pytest
import yaml

from speechlm.models import SpeechLMConfig
from speechlm.tasks.joint import SpeechUnits


@pytest.mark.parametrize(
    "size, batch_samples, batch_units, rate, clip, accumulated",
    [("base", 1_400_000, 4375, 5e-4, 10.0, 1), ("large", 900_000, 2812, 1e-3, 1.0, 4)],
)
def test_pretraining(root, size, batch_samples, batch_units, rate, clip, accumulated):
    values = yaml.safe_load((root / f"egs/TEMPLATE/conf/pretrain_{size}.yaml").read_text())
    assert values["config_size"] == size
    assert (values["batch_samples"], values["batch_units"]) == (batch_samples, batch_units)
    assert values["optim"] == "adamw"  # decoupled weight decay, on all parameters
    expected = {"lr": rate, "betas": [0.9, 0.98], "eps": 1e-6, "weight_decay": 0.01}
    assert values["optim_conf"] == expected
    assert (values["grad_clip"], values["accum_grad"]) == (clip, accumulated)
    updates = values["max_epoch"] * values["num_iters_per_epoch"] // accumulated
    assert updates == 400_000
    assert values["scheduler"] == "linear_decay"
    assert values["scheduler_conf"] == {"warmup_steps": 32_000}


@pytest.mark.parametrize(
    "name, updates, time, channel",
    [("base_100h", 30_000, 0.65, 0.5), ("large_960h", 200_000, 0.5, 0.25)],
)
def test_ctc_fine_tuning(root, name, updates, time, channel):
    values = yaml.safe_load((root / f"egs/TEMPLATE/conf/finetune_{name}.yaml").read_text())
    encoder = values["encoder_conf"]
    assert (encoder["time_mask_prob"], encoder["time_mask_length"]) == (time, 10)
    assert (encoder["channel_mask_prob"], encoder["channel_mask_length"]) == (channel, 64)
    assert encoder["speechlm"]["feature_grad_mult"] == 0.0
    assert values["max_epoch"] * values["num_iters_per_epoch"] == updates
    assert values["optim_conf"]["lr"] == 1e-5
    shares = values["scheduler_conf"]
    assert [shares[f"{p}_ratio"] for p in ("warmup", "hold", "decay")] == [0.1, 0.4, 0.5]


def test_large_scales_the_whole_utterance_before_cropping(tmp_path, make_data_dir):
    assert SpeechLMConfig.large().normalize_waveform
    make_data_dir(tmp_path / "data", 3, 5)
    arguments = (tmp_path / "data", "units_phone", 100, 8000)
    plain = SpeechUnits(*arguments)
    cropped = SpeechUnits(*arguments, max_samples=9000, normalize=True)
    index = int(np.argmax(plain.n_samples))
    whole = plain.batch(np.array([index]), None)["waveforms"][0].numpy()
    got = cropped.batch(np.array([index]), None)["waveforms"][0].numpy()
    assert len(got) == 9000 < len(whole)
    scaled = (whole - whole.mean()) / np.sqrt(whole.var() + 1e-5)
    np.testing.assert_allclose(got, scaled[:9000], atol=1e-4)
    assert abs(got.std() - 1) > 1e-3, "the crop alone was scaled"
