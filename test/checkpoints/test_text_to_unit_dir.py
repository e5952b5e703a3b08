"""Folders of text-to-unit models."""

import pytest
import yaml

from speechlm.checkpoints.text_to_unit_dir import (
    StoredTextToUnit,
    load_text_to_unit,
    save_text_to_unit,
)
from speechlm.data.monophones import MONOPHONES, N_PHONES
from speechlm.data.vocabulary import UnitVocabulary
from speechlm.models.text_to_unit import TextToUnit
from speechlm.models.unit_generator import TextToUnitConfig

UNITS = UnitVocabulary([str(n) for n in range(7)], origin="kmeans-1")


def test_a_full_disk_is_an_error_of_the_system(tmp_path, full_disk):
    config = TextToUnitConfig(embed_dim=16, encoder_layers=1, decoder_layers=1, ffn_dim=24)
    model = TextToUnit(config, N_PHONES, len(UNITS))
    stored = StoredTextToUnit(model, MONOPHONES, UNITS, 0.02)
    with full_disk(2000), pytest.raises(OSError, match="model.safetensors cannot be written"):
        save_text_to_unit(tmp_path, stored)
    with pytest.raises(ValueError, match="no trained text-to-unit model"):
        load_text_to_unit(tmp_path)
    save_text_to_unit(tmp_path, stored)
    assert load_text_to_unit(tmp_path).units.origin == "kmeans-1"
    mode = (tmp_path / "model.safetensors").stat().st_mode
    assert mode == (tmp_path / "config.yaml").stat().st_mode  # colleagues may read it, too


@pytest.mark.parametrize("change", [{"ffn_dim": 10**9}, {"encoder_layers": 10**6}])
def test_wrong_sizes_take_no_memory(tmp_path, change):
    config = TextToUnitConfig(embed_dim=16, encoder_layers=1, decoder_layers=1, ffn_dim=24)
    model = TextToUnit(config, N_PHONES, len(UNITS))
    save_text_to_unit(tmp_path, StoredTextToUnit(model, MONOPHONES, UNITS, 0.02))
    path = tmp_path / "config.yaml"
    values = yaml.safe_load(path.read_text())
    values["text_to_unit"].update(change)
    path.write_text(yaml.safe_dump(values))
    with pytest.raises(ValueError, match="model.safetensors.* its configuration"):
        load_text_to_unit(tmp_path)
