"""Waveforms as Large sees them in pre-training."""

import numpy as np

from speechlm.models import SpeechLMConfig
from speechlm.tasks.speech_units import SpeechUnits


def test_large_scales_the_whole_utterance_before_cropping(tmp_path, make_data_dir):
    assert SpeechLMConfig.large().normalize_waveform
    make_data_dir(tmp_path / "data", 3, 5)
    arguments = (tmp_path / "data", "units_phone", 100, 8000)
    plain = SpeechUnits(*arguments)
    cropped = SpeechUnits(*arguments, max_samples=9000, normalize=True)
    index = int(np.argmax(plain.lengths))
    whole = plain.batch(np.array([index]), None)["waveforms"][0].numpy()
    got = cropped.batch(np.array([index]), None)["waveforms"][0].numpy()
    assert len(got) == 9000 < len(whole)
    scaled = (whole - whole.mean()) / np.sqrt(whole.var() + 1e-5)
    np.testing.assert_allclose(got, scaled[:9000], atol=1e-4)
    assert abs(got.std() - 1) > 1e-3, "the crop alone was scaled"
