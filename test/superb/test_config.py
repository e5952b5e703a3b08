"""Values of SUPERB are those of s3prl 0.4.18, and what a configuration changes is checked."""

import pytest
import yaml

from speechlm.superb.config import SUPERB, read_training

# Of the default configurations in s3prl/problem: updates, batch, accumulated, updates between looks
# at dev, seconds of crops. Speaker verification has no dev there.
PUBLISHED = {
    "pr": (100_000, 16, 2, 1000, 0),
    "asr": (200_000, 32, 1, 2000, 0),
    "ks": (200_000, 32, 1, 5000, 0),
    "ic": (200_000, 32, 1, 5000, 0),
    "sid": (200_000, 8, 4, 5000, 8),
    "sf": (200_000, 32, 1, 2000, 0),
    "asv": (200_000, 10, 5, 20_000, 8),
    "sd": (30_000, 8, 4, 500, 0),
    "er": (30_000, 4, 8, 1000, 0),
}


def test_values_are_those_of_s3prl():
    ours = {
        task: (t.steps, t.batch, t.accumulate, t.evaluate, t.seconds) for task, t in SUPERB.items()
    }
    assert ours == PUBLISHED


@pytest.mark.parametrize("task", sorted(SUPERB))
def test_crops_are_refused_where_labels_would_stay_whole(task, tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump({task: {"seconds": 2.0}}))
    if task in ("pr", "asr", "sf", "sd"):
        with pytest.raises(ValueError, match=f"{task}: no `seconds` expected, got 2"):
            read_training(task, path)
    else:
        assert read_training(task, path).seconds == 2.0
