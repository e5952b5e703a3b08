"""Import of the authors' checkpoints in all their forms, and export of the cleaned form."""

import argparse
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

import speechlm
from speechlm.checkpoints.authors_config import conv_layers, to_authors, to_config
from speechlm.checkpoints.authors_export import export_checkpoint
from speechlm.checkpoints.authors_import import import_checkpoint
from speechlm.checkpoints.load_ctc import load_model
from speechlm.checkpoints.model_dir import (
    Description,
    load_speechlm,
    load_translation,
    read_description,
    save_speechlm,
)
from speechlm.data.audio import read_audio
from speechlm.data.kaldi_dir import DataDir
from speechlm.data.vocabulary import PHONES, CharacterVocabulary, UnitVocabulary
from speechlm.decode.ctc_greedy import collapse, greedy
from speechlm.decode.write_emissions import emissions_of
from speechlm.models.speechlm import SpeechLM

SPEC = importlib.util.spec_from_file_location(
    "authors_files", Path(__file__).with_name("authors_files.py")
)
files = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(files)


@pytest.fixture(params=[False, True], ids=["base", "large"])
def large(request):
    return request.param


@pytest.fixture
def weights(large):
    return files.random(files.keys(large=large))


def same(ours, theirs):
    """Equal names, order, types and bits."""
    assert list(ours) == list(theirs)
    for name, tensor in theirs.items():
        assert ours[name].dtype == tensor.dtype, name
        assert torch.equal(ours[name], tensor), name


def features(model, config):
    torch.manual_seed(5)
    waveforms = torch.randn(2, 6000) * 0.1
    return model.extract_features(waveforms, torch.tensor([6000, 4000]), layers="all")[0]


def reference(weights, cfg):
    """Features of a network that has the weights without any import."""
    config = to_config(cfg["model"], cfg["task"]["normalize"])
    model = SpeechLM(config, 24, 33)
    model.load_state_dict(weights)
    return features(model, config)


@pytest.mark.parametrize("older", [False, True], ids=["zip", "older"])
@pytest.mark.parametrize("form", ["plain", "omegaconf", "namespace", "flat_args"])
def test_full_checkpoint(form, older, weights, large, tmp_path):
    cfg = files.full_cfg(large=large)
    shown, args = cfg, None
    if form == "omegaconf":
        shown = OmegaConf.create({**cfg, "model": {**cfg["model"], "dropout": "${common.rate}"}})
        shown.common.rate = cfg["model"]["dropout"]
    elif form == "namespace":
        shown = files.as_namespace(cfg)
    elif form == "flat_args":
        shown, args = None, argparse.Namespace(**cfg["model"], normalize=large, arch="speechlm")
    path = files.save_full(tmp_path / "full.pt", weights, shown, older=older, args=args)
    description = import_checkpoint(path, tmp_path / "model")

    assert description.kind == "pretrained" and description.without == []
    config = description.config
    assert (config.speech_layers, config.shared_layers) == (2, 1)
    assert config.pre_norm == config.normalize_waveform == large
    assert config.dropout == (0.0 if large else 0.1)
    assert config.label_rate == (50 if large else 100)
    assert (config.mask_prob, config.swap_prob, config.swap_length) == (0.8, 0.4, 5)
    model, units = load_speechlm(tmp_path / "model")
    assert units.symbols[:2] == ("P0", "P1") and units.n_ids == 24
    assert tuple(read_description(tmp_path / "model").characters) == CharacterVocabulary.symbols
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, weights[name]), name
    opened = speechlm.SpeechLM.from_pretrained(tmp_path / "model")
    assert isinstance(opened, SpeechLM) and not opened.training
    for ours, theirs in zip(features(opened, config), reference(weights, cfg), strict=True):
        assert torch.equal(ours, theirs)

    export_checkpoint(tmp_path / "model", tmp_path / "clean.pt")
    written = torch.load(tmp_path / "clean.pt", weights_only=True)
    same(written["model"], files.cleaned(weights))
    assert written["cfg"]["task"] == {"normalize": large}
    assert written["cfg"]["model"]["text_transformer"]["encoder"]["layers"] == 1


@pytest.mark.parametrize("older", [False, True], ids=["zip", "older"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("ordered", [True, False])
def test_cleaned_checkpoint_comes_back_as_it_was(older, dtype, ordered, weights, large, tmp_path):
    kept = files.cleaned(weights)
    kept = type(kept)((n, w if n.endswith("version") else w.to(dtype)) for n, w in kept.items())
    cfg = files.full_cfg(large=large)
    cfg["dataset"] = {1: "a key that is no string", "nothing": float("inf"), "(tuple)": 3}
    content = {
        "cfg": cfg,
        "model": kept if ordered else dict(kept),
        "note": ["kept", (1, 2)],
        7: None,
    }
    path = files.save(content, tmp_path / "in.pt", older)
    description = import_checkpoint(path, tmp_path / "model")
    assert description.without == ["units", "characters"]
    assert not list((tmp_path / "model").glob("*.txt"))
    assert export_checkpoint(tmp_path / "model", tmp_path / "out.pt") == len(kept)
    written = torch.load(tmp_path / "out.pt", weights_only=True)
    assert list(written) == list(content)
    assert written["cfg"] == cfg and written["note"] == content["note"]
    assert isinstance(written["cfg"]["model"]["latent_temp"], tuple)
    assert type(written["model"]) is type(content["model"])
    same(written["model"], kept)

    opened = speechlm.SpeechLM.from_pretrained(tmp_path / "model")
    assert opened.unit_embed_tokens is None and opened.unit_encoder_ctc_head is None
    full = {**weights, **{n: w.float() for n, w in kept.items()}}
    for ours, theirs in zip(
        features(opened, description.config), reference(full, cfg), strict=True
    ):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("form", ["plain", "omegaconf", "namespace"])
@pytest.mark.parametrize("copies", [True, False])
def test_ctc_checkpoint(form, copies, tmp_path):
    weights = files.random(files.keys(characters=10))
    cfg = files.full_cfg()
    cfg["model"]["mask_prob"], cfg["model"]["feature_grad_mult"] = 0.65, 0.0
    shown = {"plain": dict, "omegaconf": OmegaConf.create, "namespace": files.as_namespace}
    letters = [*files.SPECIALS, *"|ABCD", "<mask>"]
    path = files.save_ctc(
        tmp_path / "ctc.pt", weights, shown[form](cfg), letters=letters, copies=copies
    )
    description = import_checkpoint(path, tmp_path / "model")
    assert description.kind == "ctc"
    assert description.config.feature_grad_mult == 0.0
    model, units = load_speechlm(tmp_path / "model")
    assert list(read_description(tmp_path / "model").characters) == letters
    assert units.symbols == tuple(map(str, range(19)))
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, weights[name]), name
    export_checkpoint(tmp_path / "model", tmp_path / "clean.pt")
    same(torch.load(tmp_path / "clean.pt", weights_only=True)["model"], files.cleaned(weights))


def test_an_imported_ctc_checkpoint_decodes(chords, tmp_path):
    weights = files.random(files.keys())
    for name in [n for n, w in weights.items() if w.dim() > 1 and "pos_conv" not in n]:
        weights[name] = weights[name] * 6  # so that the audio decides what is written
    path = files.save_ctc(tmp_path / "ctc.pt", weights, files.full_cfg())
    import_checkpoint(path, tmp_path / "model")
    data = DataDir.read(chords / "dev")
    ctc = load_model(tmp_path / "model")
    decoded = {u: greedy(x) for u, x in emissions_of(ctc, data, batch_samples=1)}
    model = SpeechLM(to_config(files.full_cfg()["model"], False), 24, 33)
    model.load_state_dict(weights)
    vocabulary = CharacterVocabulary()
    for utterance, text in decoded.items():
        wave = torch.from_numpy(read_audio(data.wav[utterance]))[None]
        best = model.eval().ctc_logits(model.encode(wave))[0, :-1].argmax(-1)
        assert text == vocabulary.decode(collapse(best.numpy(), vocabulary.blank))
    assert len(set(decoded.values())) > 1

    clean = {"cfg": files.full_cfg(), "model": files.cleaned(weights)}
    import_checkpoint(files.save(clean, tmp_path / "clean.pt"), tmp_path / "clean")
    with pytest.raises(ValueError, match="kind pretrained, not ctc; fine-tune it first"):
        load_model(tmp_path / "clean")
    with pytest.raises(ValueError, match="one file of weights, model.safetensors, got a.pth"):
        load_model(tmp_path / "model", "a.pth")
    load_model(tmp_path / "model", "model.safetensors")
    (tmp_path / "model" / "characters.txt").write_text("".join(f"{i}\n" for i in range(33)))
    with pytest.raises(ValueError, match="characters.txt: the 33 characters <s>"):
        load_model(tmp_path / "model")


@pytest.mark.parametrize("older", [False, True], ids=["zip", "older"])
def test_translation_checkpoint(older, tmp_path):
    weights = files.random(files.keys(units=369))
    decoder = files.random(files.decoder_keys(7), seed=1)
    path = files.save_translation(tmp_path / "st.pt", weights, decoder, files.full_cfg(), older)
    (tmp_path / "dict.txt").write_text("a 1\nb 1\n▁ 1\n")
    description = import_checkpoint(
        path, tmp_path / "model", target_dictionary=tmp_path / "dict.txt"
    )
    assert description.kind == "translation"
    assert (description.decoder.layers, description.decoder.layerdrop) == (2, 0.1)
    encoder, translator, symbols = load_translation(tmp_path / "model")
    assert list(symbols) == [*files.SPECIALS, "a", "b", "▁"]
    assert load_speechlm(tmp_path / "model")[1].symbols == PHONES
    for name, tensor in encoder.state_dict().items():
        assert torch.equal(tensor, weights[name]), name
    for name, tensor in translator.state_dict().items():
        assert torch.equal(tensor, decoder[f"decoder.{name}"]), name

    unknown = import_checkpoint(path, tmp_path / "unknown")
    assert unknown.targets is None and load_translation(tmp_path / "unknown")[2] is None
    (tmp_path / "dict.txt").write_text("a 1\n")
    with pytest.raises(ValueError, match="dict.txt gives 5 symbols.*7 rows"):
        import_checkpoint(path, tmp_path / "wrong", target_dictionary=tmp_path / "dict.txt")
    with pytest.raises(ValueError, match="kind pretrained, not translation"):
        files.save_full(tmp_path / "full.pt", files.random(files.keys()), files.full_cfg())
        import_checkpoint(tmp_path / "full.pt", tmp_path / "pretrained")
        load_translation(tmp_path / "pretrained")


def test_a_unit_dictionary_names_the_units(tmp_path):
    weights = files.random(files.keys(units=8))
    path = files.save_ctc(tmp_path / "ctc.pt", weights, files.full_cfg())
    (tmp_path / "dict.km.txt").write_text("x 1\ny 1\nz 1\n")
    description = import_checkpoint(path, tmp_path / "model", tmp_path / "dict.km.txt")
    assert description.units.symbols == ("x", "y", "z")
    (tmp_path / "dict.km.txt").write_text("x 1\ny 1\n")
    with pytest.raises(ValueError, match="dict.km.txt has 2 units.* has 3"):
        import_checkpoint(path, tmp_path / "model", tmp_path / "dict.km.txt")


def test_a_model_trained_here_becomes_a_cleaned_checkpoint(large, tmp_path):
    cfg = files.full_cfg(large=large)
    config = to_config(cfg["model"], large)
    torch.manual_seed(0)
    model = SpeechLM(config, 24, 33)
    units = UnitVocabulary(map(str, range(19)))
    save_speechlm(tmp_path / "own", config, units, model.state_dict())
    export_checkpoint(tmp_path / "own", tmp_path / "own.pt")
    written = torch.load(tmp_path / "own.pt", weights_only=True)
    names = [name for name, _ in files.keys(large=large)]
    assert list(written["model"]) == list(files.cleaned(dict.fromkeys(names)))
    assert to_config(written["cfg"]["model"], large) == config
    import_checkpoint(tmp_path / "own.pt", tmp_path / "back")
    own = speechlm.SpeechLM.from_pretrained(tmp_path / "own")
    back = speechlm.SpeechLM.from_pretrained(tmp_path / "back")
    for ours, theirs in zip(features(own, config), features(back, config), strict=True):
        assert torch.equal(ours, theirs)


def test_config_goes_both_ways(large):
    cfg = files.model_cfg(files.BASE, large)
    config = to_config(cfg, large)
    assert to_config(to_authors(config)["model"], large) == config
    sizes = (config.embed_dim, config.ffn_dim, config.heads, config.unit_dim)
    assert sizes == (768, 3072, 8, 256)
    assert config.conv_layers == ((512, 10, 5),) + ((512, 3, 2),) * 4 + ((512, 2, 2),) * 2


@pytest.mark.parametrize("size", ["base", "large"])
def test_every_tensor_of_the_real_models(size, shared):
    """The lists of the real checkpoints' tensors, against the network of their configuration."""
    path = shared / "golden" / f"keys_{size}.txt"
    if not path.is_file():
        pytest.skip(f"no {path}")
    rows = [line.split("\t") for line in path.read_text().splitlines() if line[0] != "#"]
    shapes = {r[0]: tuple(int(n) for n in r[1].strip("()").split(",") if n.strip()) for r in rows}
    large = size == "large"
    sizes = files.LARGE if large else files.BASE
    assert dict(files.keys(sizes, large, 369)) == shapes
    assert list(files.cleaned(dict(files.keys(sizes, large, 369)))) == [
        r[0] for r in rows if r[4] == "yes"
    ]
    config = to_config(files.model_cfg(sizes, large), large)
    with torch.device("meta"):
        characters = CharacterVocabulary.symbols
        model = Description(config, "pretrained", UnitVocabulary.phones(), characters).build()
    assert {n: tuple(w.shape) for n, w in model.state_dict().items()} == shapes


def test_front_end_expressions():
    assert conv_layers("[(2,3,4)] + [(5,6,7)] * 2", "x") == [(2, 3, 4), (5, 6, 7), (5, 6, 7)]
    for bad in (
        "",
        "[]",
        "[(1,2)]",
        "[(1,2,3.5)]",
        "(1,2,3)",
        "[(1,2,3)] * [1]",
        "x",
        "[(-1,2,3)]",
    ):
        with pytest.raises(ValueError, match="conv_feature_layers"):
            conv_layers(bad, "file")


def test_command_lines(run_main, tmp_path):
    """Import, export, and what a hostile file gets; the package itself imports without torch."""
    kept = files.cleaned(files.random(files.keys()))
    path = files.save({"cfg": files.full_cfg(), "model": kept}, tmp_path / "in.pt")
    done = run_main("import_checkpoint", "--input", path, "--output", tmp_path / "m")
    assert done.returncode == 0, done.stderr
    assert "pretrained SpeechLM, without units and characters" in done.stderr
    done = run_main("export_checkpoint", "--input", tmp_path / "m", "--output", tmp_path / "out.pt")
    assert done.returncode == 0, done.stderr
    same(torch.load(tmp_path / "out.pt", weights_only=True)["model"], kept)
    path.write_text("not a checkpoint\n")
    done = run_main("import_checkpoint", "--input", path, "--output", tmp_path / "n")
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {path}") and "Traceback" not in done.stderr
    code = "import sys, speechlm; assert 'torch' not in sys.modules; speechlm.SpeechLM"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
