"""Checkpoints and model folders that cannot be used, and what is said about them."""

import importlib.util
import json
from pathlib import Path

import pytest
import safetensors.torch
import torch
import yaml

import speechlm
from speechlm.checkpoints.authors_export import export_checkpoint
from speechlm.checkpoints.authors_import import import_checkpoint
from speechlm.checkpoints.model_dir import read_description, read_weights

SPEC = importlib.util.spec_from_file_location(
    "authors_files", Path(__file__).with_name("authors_files.py")
)
files = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(files)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("encoder.layers.1.fc1.bias"), r"1 missing: encoder.layers.1.fc1.bias"),
        (lambda w: w.update(odd=torch.zeros(2)), r"1 not of this model: odd"),
        (lambda w: w.update(mask_emb=torch.zeros(17)), r"mask_emb \(17,\) where \(16,\)"),
        (lambda w: w.pop("label_embs_list.1"), "missing: label_embs_list.1"),
        (lambda w: w.pop("unit_embed_tokens.weight"), "unit_embed_tokens.weight.*expected"),
        (lambda w: w.pop("unit_encoder_ctc_head.5.weight"), "ctc_head.5.weight, a.* missing"),
        (lambda w: w.update({"unit_encoder.embed_tokens.weight": torch.zeros(24, 16)}), "differ"),
        (lambda w: w.update(mask_emb="text"), "no tensors: mask_emb"),
        (lambda w: w.clear(), 'no weights under "model"'),
        (
            lambda w: w.update({"unit_encoder_ctc_head.5.weight": torch.tensor(0.0)}),
            r"a table of the characters, expected, but its shape is \(\)",
        ),
        (
            lambda w: w.update(mask_emb=torch.full((16,), torch.nan)),
            "1 weights.*not finite: mask_e",
        ),
        (lambda w: w.update(mask_emb=torch.zeros(16).int()), r"others: mask_emb \(torch.int32\)"),
    ],
)
def test_weights_that_do_not_fit_are_named(change, message, tmp_path):
    weights = files.random(files.keys())
    change(weights)
    path = files.save_full(tmp_path / "full.pt", weights, files.full_cfg())
    with pytest.raises(ValueError, match=message) as error:
        import_checkpoint(path, tmp_path / "model")
    assert str(path) in str(error.value)
    assert not (tmp_path / "model").exists()


def test_the_text_to_unit_model_is_no_speechlm(shared, tmp_path):
    path = shared / "golden" / "tiny_t2u.pt"
    with pytest.raises(ValueError, match="tiny_t2u.pt is a text-to-unit model .*; a SpeechLM is"):
        import_checkpoint(path, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_weights_beside_the_encoder_are_named(tmp_path):
    model = {f"w2v_encoder.w2v_model.{n}": w for n, w in files.random(files.keys()).items()}
    model["mask_emb"] = model["w2v_encoder.w2v_model.mask_emb"]
    content = {"cfg": {"model": {"w2v_args": files.full_cfg()}}, "model": model}
    path = files.save(content, tmp_path / "ctc.pt")
    with pytest.raises(ValueError, match=r"1 not of this model: mask_emb \(outside of w2v_enc"):
        import_checkpoint(path, tmp_path / "model")
    content["model"] = {1: torch.zeros(2)}
    with pytest.raises(ValueError, match="no tensors: 1"):
        import_checkpoint(files.save(content, path), tmp_path / "model")


def test_ctc_heads_that_differ_or_are_another_module(tmp_path):
    weights = files.random(files.keys())
    args = {"model": {"_name": "speechlm_ctc", "w2v_args": files.full_cfg()}}
    model = {f"w2v_encoder.w2v_model.{n}": w for n, w in weights.items()}
    model["w2v_encoder.proj.5.bias"] = torch.zeros(33)
    path = files.save({"cfg": args, "model": model}, tmp_path / "ctc.pt")
    with pytest.raises(ValueError, match=r"proj.5.bias must be equal, but differ"):
        import_checkpoint(path, tmp_path / "model")
    kept = {n: w for n, w in weights.items() if not n.startswith("unit_encoder_ctc_head")}
    model = {f"w2v_encoder.w2v_model.{n}": w for n, w in kept.items()}
    model["w2v_encoder.proj.weight"] = torch.zeros(33, 16)
    files.save({"cfg": args, "model": model}, path)
    with pytest.raises(ValueError, match="w2v_encoder.proj.weight is not SpeechLM's CTC head"):
        import_checkpoint(path, tmp_path / "model")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("activation_fn", "relu", "activation_fn is 'relu'; only 'gelu'"),
        ("use_rel_pos_enc", False, "use_rel_pos_enc"),
        ("extractor_mode", "none", "extractor_mode is 'none'"),
        ("encoder_layers", 3, "18 missing: encoder.layers.2"),
        ("encoder_layers", 10**9, "layers, its weights are fewer"),
        ("encoder_embed_dim", 15, "encoder.embed_dim is 16 and encoder_embed_dim is 15"),
        ("encoder_ffn_embed_dim", None, "ffn_embed_dim"),
        ("conv_feature_layers", "__import__('os').system('true')", "conv_feature_layers is"),
        ("conv_feature_layers", "[(1,2,3)] * 9 * 9 * 9 * 9 * 9 * 9", "conv_feature_layers is"),
        ("logit_temp", "x", "temperature: expected a number"),
        ("label_rate", 75, "label_rate"),
        ("final_dim", 16, "final_dim is 16, the width of the model"),
        ("final_dim", 0, "final_dim is 0"),
        ("conv_pos", 10**30, "no network has its configuration"),
        ("text_transformer", None, "text_transformer"),
    ],
)
def test_configurations_of_other_networks_are_refused(key, value, message, tmp_path):
    cfg = files.full_cfg()
    cfg["model"][key] = value
    path = files.save_full(tmp_path / "full.pt", files.random(files.keys()), cfg)
    with pytest.raises(ValueError, match=message) as error:
        import_checkpoint(path, tmp_path / "model")
    assert str(path) in str(error.value)


def test_files_that_hold_something_else(tmp_path):
    weights = files.random(files.keys())
    for content, message in (
        (weights, 'no weights under "model"; its entries are: mask_emb'),
        ([1, 2], "holds list"),
        ({"model": weights}, 'no configuration under "cfg"'),
        ({"model": weights, "cfg": {"model": {}, "task": {}}}, "normalize is None"),
        ({"model": weights, "cfg": {"model": {"w2v_args": None}}}, "needs cfg.model.w2v_args"),
        ({"model": weights, "cfg": "text"}, "cfg is text"),
    ):
        path = files.save(content, tmp_path / "file.pt")
        with pytest.raises(ValueError, match=message):
            import_checkpoint(path, tmp_path / "model")


def test_dictionaries_of_another_size(tmp_path):
    weights = files.random(files.keys(units=24))
    path = files.save_full(tmp_path / "full.pt", weights, files.full_cfg(), units=25)
    with pytest.raises(ValueError, match="24 rows of unit emb.*text_src_dictionary 25"):
        import_checkpoint(path, tmp_path / "model")
    with files.fairseq() as make:
        state = {"text_src_dictionary": make([*"abcd", *map(str, range(20))])}
        content = {"cfg": files.full_cfg(), "model": weights, "task_state": state}
        path = files.save(content, tmp_path / "odd.pt")
    with pytest.raises(ValueError, match="found a b c d .. 19"):
        import_checkpoint(path, tmp_path / "model")
    weights = files.random(files.keys(characters=9))
    path = files.save({"cfg": files.full_cfg(), "model": weights}, tmp_path / "none.pt")
    with pytest.raises(ValueError, match="no dictionary for the 9 rows"):
        import_checkpoint(path, tmp_path / "model")


def test_a_configuration_without_end(tmp_path):
    weights = files.random(files.keys())
    endless = {}
    endless["again"] = endless
    path = files.save({"cfg": endless, "model": weights}, tmp_path / "endless.pt")
    with pytest.raises(ValueError, match="nested without end"):
        import_checkpoint(path, tmp_path / "model")
    bomb = []
    for _ in range(40):
        bomb = [bomb, bomb]
    path = files.save({"cfg": {"model": bomb}, "model": weights}, tmp_path / "bomb.pt")
    with pytest.raises(ValueError, match="a million values"):
        import_checkpoint(path, tmp_path / "model")


def test_the_folder_must_be_new_or_an_earlier_import(tmp_path):
    full = files.save_full(tmp_path / "full.pt", files.random(files.keys()), files.full_cfg())
    kept = files.cleaned(files.random(files.keys(), seed=3))
    clean = files.save({"cfg": files.full_cfg(), "model": kept}, tmp_path / "clean.pt")
    import_checkpoint(full, tmp_path / "model")
    assert (tmp_path / "model" / "tokens.txt").is_file()
    import_checkpoint(clean, tmp_path / "model")
    assert not (tmp_path / "model" / "tokens.txt").exists()
    assert read_description(tmp_path / "model").without == ["units", "characters"]
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"other files \(notes.txt\)"):
        import_checkpoint(clean, tmp_path / "other")
    assert (tmp_path / "other" / "notes.txt").read_text() == "mine"
    with pytest.raises(ValueError, match="notes.txt is a file"):
        import_checkpoint(clean, tmp_path / "other" / "notes.txt")
    before = (tmp_path / "model" / "config.yaml").read_text()
    clean.write_bytes(clean.read_bytes()[:-100])
    with pytest.raises(ValueError, match="truncated"):
        import_checkpoint(clean, tmp_path / "model")
    assert (tmp_path / "model" / "config.yaml").read_text() == before
    (tmp_path / "model" / "config.yaml").write_text("optim: adam\n")
    with pytest.raises(ValueError, match=r"other files \(config.yaml\)"):
        import_checkpoint(full, tmp_path / "model")


def test_export_of_changed_weights(tmp_path):
    path = files.save_full(tmp_path / "full.pt", files.random(files.keys()), files.full_cfg())
    import_checkpoint(path, tmp_path / "model")
    tensors = tmp_path / "model" / "model.safetensors"
    weights, metadata = read_weights(tmp_path / "model")
    order = json.loads(metadata["authors"]) | {"order": ["mask_emb"]}
    safetensors.torch.save_file(weights, tensors, {"authors": json.dumps(order)})
    with pytest.raises(ValueError, match="changed since the import"):
        export_checkpoint(tmp_path / "model", tmp_path / "out.pt")
    for kept in ("no JSON", "{}", '{"(tuple)": 4}', json.dumps(order | {"order": [[]]})):
        safetensors.torch.save_file(weights, tensors, {"authors": kept})
        with pytest.raises(ValueError, match="what the import has kept in it is damaged"):
            export_checkpoint(tmp_path / "model", tmp_path / "out.pt")
    with pytest.raises(ValueError, match="is a folder; the name of a file"):
        export_checkpoint(tmp_path / "model", tmp_path)
    del weights["mask_emb"]
    safetensors.torch.save_file(weights, tensors, metadata)
    with pytest.raises(ValueError, match="1 missing: mask_emb"):
        export_checkpoint(tmp_path / "model", tmp_path / "out.pt")
    assert not (tmp_path / "out.pt").exists()


def test_open_errors(tmp_path):
    with pytest.raises(ValueError, match="config.yaml expected"):
        speechlm.SpeechLM.from_pretrained(tmp_path)
    path = files.save_full(tmp_path / "full.pt", files.random(files.keys()), files.full_cfg())
    with pytest.raises(ValueError, match="import_checkpoint --input"):
        speechlm.SpeechLM.from_pretrained(path)
    import_checkpoint(path, tmp_path / "model")
    tensors = tmp_path / "model" / "model.safetensors"
    data = tensors.read_bytes()
    tensors.write_bytes(data[: len(data) // 2])
    with pytest.raises(ValueError, match="is cut off or damaged"):
        speechlm.SpeechLM.from_pretrained(tmp_path / "model")
    tensors.unlink()
    with pytest.raises(ValueError, match="model.safetensors expected"):
        speechlm.SpeechLM.from_pretrained(tmp_path / "model")
    config = tmp_path / "model" / "config.yaml"
    values = yaml.safe_load(config.read_text())
    for change, message in (
        ({"kind": "unknown"}, "kind 'unknown'"),
        ({"speechlm": None}, "no entry `speechlm`"),
        ({"speechlm": {**values["speechlm"], "head": 2}}, 'did you mean "heads"'),
    ):
        config.write_text(yaml.safe_dump(values | change))
        with pytest.raises(ValueError, match=message):
            speechlm.SpeechLM.from_pretrained(tmp_path / "model")


def test_configurations_of_folders_that_cannot_be(tmp_path):
    """Nothing of them is run, and no memory is taken for sizes that the weights do not have."""
    folder, mark = tmp_path / "model", tmp_path / "mark"
    path = files.save_full(tmp_path / "full.pt", files.random(files.keys()), files.full_cfg())
    import_checkpoint(path, folder)
    config = folder / "config.yaml"
    values = yaml.safe_load(config.read_text())

    def refused(text, message, **changes):
        config.write_text(text)
        with pytest.raises(ValueError, match=message) as error:
            speechlm.SpeechLM.from_pretrained(folder, **changes)
        assert str(folder) in str(error.value)

    refused(
        f'a: !!python/object/apply:os.system ["touch {mark}"]\n', "holds no YAML of plain values"
    )
    assert not mark.exists()
    refused("[" * 5000, "holds no YAML of plain values")
    refused("a: 2020-13-99\n", "holds no YAML of plain values")
    for name, value, message in (
        ("embed_dim", 768_000, r"mask_emb|of another shape"),
        ("speech_layers", 10**9, "layers, its weights are fewer"),
        ("max_positions", 10**12, "unit_encoder.embed_positions.weight"),
        ("relative_clip", 10**20, "no network has its configuration"),
        ("conv_layers", ["abc"], "config.yaml is no SpeechLM's configuration"),
        ("heads", 1, "norm_k"),
    ):
        refused(yaml.safe_dump(values | {"speechlm": {**values["speechlm"], name: value}}), message)
    refused(yaml.safe_dump(values | {"translation_decoder": [1]}), "translation_decoder is none")
    refused(yaml.safe_dump(values), "config.yaml with {'head': 2} is no Spe.*\"heads\"", head=2)
    (folder / "characters.txt").write_bytes(b"\xff\n")
    refused(yaml.safe_dump(values), "characters.txt:1: UTF-8 text expected")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.clear(), "table of the target symbols, expected, but it is missing"),
        (lambda d: d.update({"decoder.embed_tokens.weight": torch.tensor(0.0)}), r"shape is \(\)"),
        (lambda d: d.update({"decoder.x": torch.zeros(1)}), "1 not of this model: decoder.x"),
    ],
)
def test_translation_decoders_that_cannot_be_used(change, message, tmp_path):
    decoder = files.random(files.decoder_keys(7))
    change(decoder)
    weights = files.random(files.keys())
    path = files.save_translation(tmp_path / "st.pt", weights, decoder, files.full_cfg())
    with pytest.raises(ValueError, match=message):
        import_checkpoint(path, tmp_path / "model")


def test_dictionaries_that_are_not_for_this_model(tmp_path):
    (tmp_path / "dict.txt").write_text("a 1\n")
    kept = files.cleaned(files.random(files.keys()))
    path = files.save({"cfg": files.full_cfg(), "model": kept}, tmp_path / "clean.pt")
    for option in ("unit_dictionary", "target_dictionary"):
        with pytest.raises(ValueError, match=f"clean.pt .*; --{option} is not for it"):
            import_checkpoint(path, tmp_path / "model", **{option: tmp_path / "dict.txt"})


@pytest.mark.parametrize("symbol", ["", "a\nb", "\r", "A"])
def test_characters_that_no_list_can_hold(symbol, tmp_path):
    weights = files.random(files.keys(characters=7))
    letters = [*files.SPECIALS, "A", symbol, "<mask>"]
    path = files.save_ctc(tmp_path / "ctc.pt", weights, files.full_cfg(), letters=letters)
    with pytest.raises(ValueError, match="no symbols of characters in its dictionary"):
        import_checkpoint(path, tmp_path / "model")
