"""What is written for transformers opens as every other folder does, and without transformers."""

import json
import shutil
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

import speechlm
from speechlm.checkpoints.fine_tuned import read_encoder
from speechlm.checkpoints.huggingface import load_huggingface
from speechlm.checkpoints.model_dir import is_speechlm
from speechlm.checkpoints.pretrained import model_files
from speechlm.tokenizers.speech_features import open_features

FORMS = [(size, kind) for size in ("base", "fast_base") for kind in ("pretrained", "ctc")]


@pytest.mark.parametrize(("size", "kind"), FORMS)
def test_an_export_opens_as_its_model_does(size, kind, trained, exported, waves):
    own = speechlm.SpeechLM.from_pretrained(trained(size, kind))
    opened = speechlm.SpeechLM.from_pretrained(exported(size, kind))
    assert (opened.kind, opened.config) == (kind, own.config) and not opened.training
    state = own.state_dict()
    assert opened.state_dict().keys() == state.keys()
    assert all(torch.equal(weight, state[name]) for name, weight in opened.state_dict().items())
    if kind == "ctc":
        texts = [found.text for found in opened.transcribe(waves)]
        assert texts == [found.text for found in own.transcribe(waves)] and all(texts)
        listener = speechlm.CTC.from_pretrained(exported(size))
        assert texts == [found.text for found in listener.transcribe(waves)]
    else:
        with pytest.raises(ValueError, match="holds a model of kind pretrained, not ctc"):
            opened.transcribe(waves)


def test_what_transformers_saves_opens(exported, transformers, waves, tmp_path):
    """A recogniser has no units then, an encoder no CTC head either."""
    processor = transformers.AutoProcessor.from_pretrained(exported("base", "pretrained"))
    for name, auto in (("ctc", "AutoModelForCTC"), ("encoder", "AutoModel")):
        model = getattr(transformers, auto).from_pretrained(exported("base", "pretrained"))
        model.half().save_pretrained(tmp_path / name)
        processor.save_pretrained(tmp_path / name)
        opened = speechlm.SpeechLM.from_pretrained(tmp_path / name, dropout=0.5)
        assert opened.unit_embed_tokens is None and opened.config.dropout == 0.5
        weights = model.network.state_dict()
        assert opened.state_dict().keys() == weights.keys()
        for key, weight in opened.state_dict().items():
            assert weight.dtype == torch.float32 and torch.equal(weight, weights[key].float())
        assert opened.kind == ("ctc" if name == "ctc" else "pretrained")
        assert (opened.unit_encoder_ctc_head is None) == (name == "encoder")
    assert speechlm.SpeechLM.from_pretrained(tmp_path / "ctc").transcribe(waves[:1])


def test_other_programs_open_an_export_too(trained, exported, waves):
    """Warm starts, features for clustering, marks of results."""
    folder = exported("base", "pretrained")
    assert is_speechlm(folder) and not is_speechlm(folder.parent)
    assert model_files(folder) == [folder / "config.json", folder / "model.safetensors"]
    (config, weights), (own, expected) = (
        read_encoder(path, {"dropout": 0.3}) for path in (folder, trained("base", "pretrained"))
    )
    assert config == own and weights.keys() == expected.keys()
    assert all(torch.equal(weight, expected[name]) for name, weight in weights.items())
    found, own = (
        open_features("model", path, 1)(waves[0])
        for path in (folder, trained("base", "pretrained"))
    )
    assert (found == own).all()
    with pytest.raises(ValueError, match="holds a SpeechLM: give it as such"):
        load_huggingface(str(folder))


def test_opening_imports_no_transformers(exported, root):
    code = (
        "import sys, speechlm; speechlm.SpeechLM.from_pretrained(sys.argv[1]); "
        "assert 'transformers' not in sys.modules"
    )
    command = [sys.executable, "-c", code, exported("base")]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def copy(exported, tmp_path):
    """An export to spoil."""
    shutil.copytree(exported("base"), tmp_path / "hub")
    return tmp_path / "hub"


def test_other_models_of_transformers_are_refused(copy, transformers, tmp_path):
    config = transformers.WavLMConfig(hidden_size=16, num_attention_heads=2, num_hidden_layers=1)
    config.save_pretrained(tmp_path / "wavlm")
    values = json.loads((copy / "config.json").read_text())
    for change, message in (
        (None, "wavlm holds a model of type wavlm, not speechlm: open it with transformers"),
        ({"architectures": ["SpeechLMForSequenceClassification"]}, "open it as a SpeechLMModel"),
        ({"speechlm": {"embed_dims": 3}}, r'config\.json .*did you mean "embed_dim"'),
        ({"speechlm": values["speechlm"] | {"ffn_dim": 128}}, "of another shape"),
        ({"speechlm": None}, r"config\.json is no SpeechLM's configuration"),
    ):
        if change is not None:
            (copy / "config.json").write_text(json.dumps(values | change))
        with pytest.raises(ValueError, match=message):
            speechlm.SpeechLM.from_pretrained(tmp_path / "wavlm" if change is None else copy)
    (copy / "config.json").write_bytes(b"")
    with pytest.raises(ValueError, match=r"config\.json is empty: .*; copy or export it again"):
        speechlm.SpeechLM.from_pretrained(copy)


def test_other_symbols_are_refused(copy):
    """A head of 33 symbols that are not this project's characters."""
    ids = json.loads((copy / "vocab.json").read_text())
    ids["ß"] = ids.pop("A")
    (copy / "vocab.json").write_text(json.dumps(ids))
    model = speechlm.SpeechLM.from_pretrained(copy)
    with pytest.raises(ValueError, match=r"vocab\.json: the 33 characters .* expected"):
        model.transcribe([torch.zeros(9000)])


def test_weights_that_do_not_fit_are_refused(copy):
    path = copy / "model.safetensors"
    whole = load_file(path)
    name = "network.encoder.layers.0.fc1.weight"
    for change, message in (
        ({name: None}, r"1 missing: encoder\.layers\.0\.fc1\.weight"),
        ({name: whole[name] * float("nan")}, f"not finite: {name}"),
        ({name: whole[name].to(torch.int8)}, rf"floating-point weights .*{name} \(torch\.int8\)"),
        ({"lm_head.weight": torch.ones(2)}, r"names network\.\* expected, found 1 others: lm_head"),
    ):
        weights = {key: value for key, value in (whole | change).items() if value is not None}
        save_file(weights, path, {"format": "pt"})
        with pytest.raises(ValueError, match=rf"model\.safetensors.*{message}"):
            speechlm.SpeechLM.from_pretrained(copy)
    path.rename(copy / "model-00001-of-00002.safetensors")
    with pytest.raises(ValueError, match=r"model\.safetensors expected.*max_shard_size"):
        speechlm.SpeechLM.from_pretrained(copy)
