"""Export for transformers and back: weights to the bit, the card, and folders that do not fit."""

import json
import pickle
import re
import shutil

import pytest
import torch
import yaml

import speechlm
from speechlm.checkpoints.ctc_encoder import CTCEncoder
from speechlm.checkpoints.hub_import import import_hub_folder
from speechlm.checkpoints.load_ctc import load_model
from speechlm.checkpoints.model_dir import read_description, read_weights
from speechlm.data.vocabulary import CharacterVocabulary

FORMS = [("base", "pretrained"), ("large", "ctc"), ("fast_base", "pretrained")]


@pytest.mark.parametrize(("size", "kind"), FORMS)
def test_an_export_comes_back_bit_for_bit(size, kind, trained, exported, run_main, tmp_path):
    source, back = trained(size, kind), tmp_path / "back"
    done = run_main("import_checkpoint", "--input", exported(size, kind), "--output", back)
    assert done.returncode == 0, done.stderr
    for name in ("model.safetensors", "tokens.txt", "tokens.origin", "characters.txt"):
        assert (back / name).read_bytes() == (source / name).read_bytes(), name
    values = [yaml.safe_load((folder / "config.yaml").read_text()) for folder in (source, back)]
    assert values[0] == values[1] | {"imported_from": "a test"}


def test_a_fine_tuning_of_espnets_form(run_main, tmp_path, network_config, waves):
    """Its weights have ESPnet's names, and config.yaml is ESPnet's."""
    config = network_config("fast_base").to_dict()
    torch.manual_seed(2)
    encoder = CTCEncoder(network_config("fast_base"))
    output = torch.nn.Linear(encoder.width, CharacterVocabulary.n_ids)
    weights = {f"encoder.{name}": weight for name, weight in encoder.state_dict().items()}
    weights |= {f"ctc.ctc_lo.{name}": weight for name, weight in output.state_dict().items()}
    folder = tmp_path / "asr"
    folder.mkdir()
    torch.save(weights, folder / "valid.wer_ctc.ave.pth")
    values = {"encoder": "speechlm", "encoder_conf": {"speechlm": config}}
    (folder / "config.yaml").write_text(yaml.safe_dump(values))
    for command, source, output in (
        ("export_huggingface", "asr", "hub"),
        ("import_checkpoint", "hub", "back"),
    ):
        done = run_main(command, "--input", source, "--output", output, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    wave, length = torch.from_numpy(waves[0])[None], torch.tensor([len(waves[0])])
    found, back = (load_model(tmp_path / name)(wave, length)[0] for name in ("asr", "back"))
    assert found.shape == (1, 2 * ((9000 - 880) // 640 + 1), 33) and torch.equal(found, back)
    assert read_description(tmp_path / "back").without == ["units"]


def test_what_transformers_saves_is_imported(exported, transformers, run_main, tmp_path):
    """A recogniser that was trained there has no units."""
    model = transformers.AutoModelForCTC.from_pretrained(exported("base", "pretrained"))
    processor = transformers.AutoProcessor.from_pretrained(exported("base", "pretrained"))
    with torch.no_grad():
        model.network.unit_encoder_ctc_head.output_layer.bias.add_(1.0)
    model.save_pretrained(tmp_path / "hub")
    processor.save_pretrained(tmp_path / "hub")
    done = run_main("import_checkpoint", "--input", "hub", "--output", "back", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    weights, _ = read_weights(tmp_path / "back")
    assert set(weights) == set(model.network.state_dict())
    assert all(torch.equal(weights[n], w) for n, w in model.network.state_dict().items())
    description = read_description(tmp_path / "back")
    assert (description.kind, description.without) == ("ctc", ["units"])


def test_the_card(trained, run_main, root, tmp_path):
    results = "# mini\n\n## Table\n\n![rates](images/rates.png)\n|a|\n|---|\n|17.4|\n"
    results += "```\n# no heading\n```\n"
    (tmp_path / "RESULTS.md").write_text(results)
    options = ("--data", "An hour of chords.", "--results", "RESULTS.md", "--license", "cc-by-4.0")
    done = run_main(
        *("export_huggingface", "--input", trained("large"), "--output", "hub", *options),
        *("--languages", "en", "de"),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    card = (tmp_path / "hub" / "README.md").read_text()
    _, head, text = card.split("---\n", 2)
    values = yaml.safe_load(head)
    assert values["license"] == "cc-by-4.0" and values["language"] == ["en", "de"]
    assert values["pipeline_tag"] == "automatic-speech-recognition"
    assert "An hour of chords." in text and "|17.4|" in text and "rates.png" not in text
    assert "\n### mini\n" in text and "\n#### Table\n" in text and "\n# no heading\n" in text
    citation = yaml.safe_load((root / "CITATION.cff").read_text())["preferred-citation"]
    assert citation["doi"] in text and citation["title"] in text
    assert all(author["family-names"] in text for author in citation["authors"])
    (code,) = re.findall(r"```python\n(.*?)```", text, re.S)
    compile(code, "card", "exec")


def test_a_card_of_which_nothing_is_said(exported):
    card = (exported("base", "pretrained") / "README.md").read_text()
    assert yaml.safe_load(card.split("---\n")[1])["license"] == "unknown"
    assert card.count("Not said by whoever exported the model") == 2


def test_files_are_data_alone(exported, transformers):
    names = {path.name for path in exported("large").iterdir()}
    stock = {
        "config.json",
        "model.safetensors",
        "preprocessor_config.json",
        "processor_config.json",
    }
    own = {"README.md", "tokens.txt", "tokens.origin", "vocab.json", "tokenizer_config.json"}
    assert stock | own <= names <= stock | own | {"added_tokens.json", "special_tokens_map.json"}
    assert "auto_map" not in json.loads((exported("large") / "config.json").read_text())
    for size in ("base", "large"):
        extractor = transformers.AutoFeatureExtractor.from_pretrained(exported(size))
        assert extractor.do_normalize == (size == "large") and extractor.return_attention_mask


def test_pickles_are_not_opened(exported, transformers, tmp_path):
    folder = tmp_path / "hub"
    shutil.copytree(exported("base"), folder)
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"a": 1}))
    for name in ("AutoModel", "AutoModelForCTC"):
        with pytest.raises(OSError, match="safetensors"):
            getattr(transformers, name).from_pretrained(folder)


def test_weights_that_are_missing_are_not_made_up(exported, transformers, tmp_path):
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "hub"
    shutil.copytree(exported("base"), folder)
    weights = load_file(folder / "model.safetensors")
    del weights["network.encoder.layers.0.fc1.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match=r"1 weights .* missing: network\.encoder\.layers\.0\.fc1"):
        transformers.AutoModel.from_pretrained(folder)


def refused(run_main, command, source, output, message):
    done = run_main(command, "--input", source, "--output", output)
    assert done.returncode == 1 and message in done.stderr, done.stderr
    assert not (output / "README.md").exists()


def test_folders_of_another_kind_are_refused(trained, exported, run_main, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(trained("base"), other)
    values = yaml.safe_load((other / "config.yaml").read_text())
    (other / "config.yaml").write_text(yaml.safe_dump(values | {"kind": "translation"}))
    refused(run_main, "export_huggingface", other, tmp_path / "o", "of kind translation; one of")
    (other / "characters.txt").write_text("\n".join(map(str, range(33))))
    (other / "config.yaml").write_text(yaml.safe_dump(values))
    refused(run_main, "export_huggingface", other, tmp_path / "o", "the 33 characters <s>")
    (other / "config.yaml").write_text("text_to_unit: {}\n")
    refused(run_main, "export_huggingface", other, tmp_path / "o", "has no entry `speechlm`")
    refused(run_main, "export_huggingface", tmp_path / "none", tmp_path / "o", "no trained model")
    refused(run_main, "export_huggingface", trained("base"), other, "something else than an export")

    hub = tmp_path / "hub"
    shutil.copytree(exported("base"), hub)
    path = hub / "config.json"
    values = json.loads(path.read_text())
    for change, message in (
        ({"model_type": "hubert"}, "a model of type hubert, not speechlm"),
        ({"architectures": ["SpeechLMForSequenceClassification"]}, "open it as a SpeechLMModel"),
        ({"speechlm": {"embed_dims": 3}}, 'did you mean "embed_dim"'),
        ({"speechlm": values["speechlm"] | {"ffn_dim": 128}}, "of another shape"),
    ):
        path.write_text(json.dumps(values | change))
        refused(run_main, "import_checkpoint", hub, tmp_path / "o", message)
    path.write_text(json.dumps(values))
    vocabulary = json.loads((hub / "vocab.json").read_text())
    (hub / "vocab.json").write_text(json.dumps(vocabulary | {"A": 40}))
    refused(run_main, "import_checkpoint", hub, tmp_path / "o", "ids 0 to 32, one a symbol")
    (hub / "model.safetensors").unlink()
    refused(run_main, "import_checkpoint", hub, tmp_path / "o", "model.safetensors expected")


@pytest.mark.parametrize(
    ("size", "message"), [(0, "model.safetensors is empty"), (1000, "is cut off or damaged")]
)
def test_damaged_weights_are_named(size, message, exported, transformers, tmp_path):
    folder = shutil.copytree(exported("base"), tmp_path / "hub")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:size])
    with pytest.raises(ValueError, match=message):
        transformers.AutoModelForCTC.from_pretrained(folder)


def test_weights_of_another_size_are_refused(exported, transformers, tmp_path):
    folder = shutil.copytree(exported("base"), tmp_path / "hub")
    config = json.loads((folder / "config.json").read_text())
    config["speechlm"]["ffn_dim"] *= 2
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="weights do not fit config.json"):
        transformers.AutoModelForCTC.from_pretrained(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vocab_size": 40}, r"vocab_size 33, as vocab.json has, .* got 40 and 0"),
        ({"pad_token_id": 7}, r"blank \(pad_token_id\) 0 expected, got 33 and 7"),
        ({"architectures": [["SpeechLMForCTC"]]}, "SpeechLMModel or SpeechLMForCTC expected"),
    ],
)
def test_a_head_that_does_not_fit_is_not_imported(changes, message, exported, tmp_path):
    folder = shutil.copytree(exported("base"), tmp_path / "hub")
    config = json.loads((folder / "config.json").read_text()) | changes
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=message):
        import_hub_folder(folder, tmp_path / "back")
    assert not (tmp_path / "back").exists()


def test_an_export_does_not_replace_another_model(trained, tmp_path):
    """wav2vec 2.0's recognisers have files of the same names."""
    from speechlm.hub.card import Card
    from speechlm.hub.export import export_huggingface

    folder = tmp_path / "hub"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "wav2vec2"}')
    (folder / "model.safetensors").write_text("precious")
    with pytest.raises(ValueError, match="a model of type wav2vec2"):
        export_huggingface(trained("base"), folder, Card())
    assert (folder / "model.safetensors").read_text() == "precious"


def test_who_may_read_an_export_is_up_to_the_umask(exported):
    modes = {path.name: path.stat().st_mode for path in exported("base").iterdir()}
    assert modes["model.safetensors"] == modes["config.json"]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_not_passed_on(value, trained, tmp_path):
    from safetensors.torch import load_file, save_file

    from speechlm.hub.card import Card
    from speechlm.hub.export import export_huggingface

    folder = shutil.copytree(trained("base"), tmp_path / "model")
    weights = load_file(folder / "model.safetensors")
    weights["layer_norm.weight"][0] = value
    save_file(weights, folder / "model.safetensors")
    message = "1 weights hold numbers that are not finite: layer_norm.weight"
    with pytest.raises(ValueError, match=message):
        export_huggingface(folder, tmp_path / "hub", Card())
    with pytest.raises(ValueError, match=message):
        speechlm.SpeechLM.from_pretrained(folder)
    assert not (tmp_path / "hub").exists()
