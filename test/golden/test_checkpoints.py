"""Checkpoints with the authors' weights and names, through import and the public interface."""

from collections import OrderedDict

import pytest
import torch

import speechlm
from speechlm.checkpoints.authors_export import export_checkpoint
from speechlm.checkpoints.authors_import import import_checkpoint
from speechlm.checkpoints.model_dir import load_translation


@pytest.mark.parametrize("size", ["base", "large"])
@pytest.mark.parametrize("older", [False, True], ids=["zip", "older"])
def test_cleaned(size, older, golden_checkpoint, golden_arrays, padded_inputs, close, tmp_path):
    content = golden_checkpoint(f"tiny_{size}.pt")
    arrays = golden_arrays(f"tiny_{size}_io.npz")
    torch.save(content, tmp_path / "in.pt", _use_new_zipfile_serialization=not older)
    import_checkpoint(tmp_path / "in.pt", tmp_path / "model")
    model = speechlm.SpeechLM.from_pretrained(tmp_path / "model")
    waveforms, lengths = padded_inputs("batch", size == "large")
    close(model.extract_features(waveforms, lengths)[0], arrays["batch.last"])
    export_checkpoint(tmp_path / "model", tmp_path / "out.pt")
    written = torch.load(tmp_path / "out.pt", weights_only=True)
    assert list(written) == list(content) and written["cfg"] == content["cfg"]
    assert list(written["model"]) == list(content["model"])
    for name, tensor in content["model"].items():
        assert written["model"][name].dtype == tensor.dtype
        assert torch.equal(written["model"][name], tensor), name


def test_ctc(golden_checkpoint, golden_arrays, padded_inputs, close, tmp_path):
    source = golden_checkpoint("tiny_pretrain.pt")
    arrays = golden_arrays("ctc_finetune_io.npz")
    model = OrderedDict((f"w2v_encoder.w2v_model.{n}", w) for n, w in source["model"].items())
    cfg = {"model": {"_name": "speechlm_ctc", "w2v_args": source["cfg"]}}
    torch.save({"cfg": cfg, "model": model}, tmp_path / "in.pt")
    assert import_checkpoint(tmp_path / "in.pt", tmp_path / "model").kind == "ctc"
    opened = speechlm.SpeechLM.from_pretrained(tmp_path / "model")
    batch = padded_inputs("batch", False)
    logits = opened.ctc_logits(opened.encode(*batch))
    close(logits, arrays["base.logits_TBC"].transpose(0, 1), "logits", atol=1e-4)


def test_translation(golden_checkpoint, tmp_path):
    source, decoder = golden_checkpoint("tiny_pretrain.pt"), golden_checkpoint("st_decoder.pt")
    model = OrderedDict((f"encoder.w2v_model.{n}", w) for n, w in source["model"].items())
    model.update(decoder["decoder"])
    cfg = {"model": {**decoder["cfg"], "w2v_args": source["cfg"]}}
    torch.save({"cfg": cfg, "model": model}, tmp_path / "in.pt")
    assert import_checkpoint(tmp_path / "in.pt", tmp_path / "model").kind == "translation"
    _, translator, _ = load_translation(tmp_path / "model")
    table = decoder["decoder"]["decoder.pos_emb.pe_k.weight"]
    assert translator.config.relative_clip == len(table) // 2
    for name, tensor in translator.state_dict().items():
        assert torch.equal(tensor, decoder["decoder"][f"decoder.{name}"]), name
