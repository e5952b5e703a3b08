"""An authors' checkpoint as a model of transformers gives what the authors' code gives."""

import pytest
import torch

from speechlm.checkpoints.authors_import import import_checkpoint


@pytest.fixture
def exported(golden_checkpoint, tmp_path):
    """Function: name of a checkpoint -> folder of its model for transformers."""
    pytest.importorskip("transformers", reason="transformers is not installed")
    from speechlm.hub.card import Card
    from speechlm.hub.export import export_huggingface

    def make(name):
        torch.save(golden_checkpoint(name), tmp_path / "in.pt")
        import_checkpoint(tmp_path / "in.pt", tmp_path / "model")
        export_huggingface(tmp_path / "model", tmp_path / "hub", Card())
        return tmp_path / "hub"

    return make


@pytest.mark.parametrize("size", ["base", "large"])
def test_features(size, exported, golden_arrays, padded_inputs, close):
    import transformers

    folder = exported(f"tiny_{size}.pt")
    model = transformers.AutoModel.from_pretrained(folder)
    extractor = transformers.AutoFeatureExtractor.from_pretrained(folder)
    arrays = golden_arrays(f"tiny_{size}_io.npz")
    waveforms, lengths = padded_inputs("batch", size == "large")
    mask = torch.arange(waveforms.shape[1]) < lengths[:, None]
    raw = [wave[:length].numpy() for wave, length in zip(waveforms, lengths, strict=True)]
    extracted = extractor(raw, sampling_rate=16000, padding=True, return_tensors="pt")
    assert torch.equal(extracted["attention_mask"].bool(), mask)
    with torch.no_grad():
        found = model(waveforms, mask, output_hidden_states=True)
        by_extractor = model(**extracted).last_hidden_state
    close(found.last_hidden_state, arrays["batch.last"], "last")
    # The extractor adds 1e-7 to an utterance's variance, the authors 1e-5.
    close(by_extractor, arrays["batch.last"], "by the extractor", atol=1e-3)
    for index, layer in enumerate(found.hidden_states):
        close(layer, arrays[f"batch.layer_results.{index}"], f"layer {index}")
