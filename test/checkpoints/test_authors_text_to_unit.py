"""Import and export of the authors' text-to-unit model, and text in its 42 phones."""

import argparse
from collections import OrderedDict

import numpy as np
import pytest
import torch

from speechlm.checkpoints.authors_import import import_checkpoint
from speechlm.checkpoints.authors_text_to_unit import (
    export_text_to_unit,
    holds_text_to_unit,
    import_text_to_unit,
)
from speechlm.checkpoints.text_to_unit_dir import load_text_to_unit
from speechlm.data.lexicon import Lexicon
from speechlm.data.monophones import AUTHORS_PHONES, MONOPHONES, phone_of_unit
from speechlm.data.unit_store import UnitStore
from speechlm.data.vocabulary import UnitVocabulary
from speechlm.models.text_to_unit import TextToUnit
from speechlm.models.unit_generator import TextToUnitConfig
from speechlm.tokenizers.hidden_text import HiddenTextTokenizer
from speechlm.tokenizers.text_generation import Generation, finish, generate_units

UNITS = 11
OPTIONS = {
    "encoder_embed_dim": 16,
    "decoder_embed_dim": 16,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_layers": 1,
    "decoder_layers": 2,
    "fft_hidden_dim": 24,
    "fft_kernel_size": 9,
    "var_pred_hidden_dim": 20,
    "var_pred_kernel_size": 3,
    "var_pred_dropout": 0.5,
    "dropout": 0.1,
    "attention_dropout": 0.1,
    "add_postnet": False,
    "use_pitch": False,
    "speaker_to_id": None,
}
UNUSED = {
    "encoder.embed_positions._float_tensor": (1,),
    "encoder.var_adaptor.pitch_predictor.proj.weight": (1, 20),
    "encoder.var_adaptor.embed_energy.weight": (256, 16),
}
LEXICON = Lexicon(
    {"LESS": [("L", "EH1", "S")], "SEND": [("S", "EH1", "N", "D")], "O": [("OW1",)]}, "few words"
)


@pytest.fixture
def weights():
    torch.manual_seed(4)
    values = {"embed_dim": 16, "encoder_layers": 1, "decoder_layers": 2, "ffn_dim": 24}
    model = TextToUnit(TextToUnitConfig(**values, predictor_dim=20), 46, UNITS)
    with torch.no_grad():
        model.encoder.var_adaptor["duration_predictor"].proj.bias.fill_(1.8)
    made = OrderedDict(model.state_dict())
    made.update((name, torch.randn(shape)) for name, shape in UNUSED.items())
    return made


FORMS = {
    "args": lambda options: {"args": argparse.Namespace(**options), "cfg": None},
    "cfg": lambda options: {"args": None, "cfg": {"model": argparse.Namespace(**options)}},
    "plain": lambda options: {"args": options},
}


@pytest.fixture
def save(tmp_path, weights):
    """Function: form, changes of options and weights -> a checkpoint."""

    def write(form="cfg", changes=None, **change):
        content = FORMS[form]({**OPTIONS, **(changes or {})})
        content |= {"model": OrderedDict({**weights, **change}), "extra_state": {"epoch": 1}}
        torch.save(content, tmp_path / "t2u.pt")
        return tmp_path / "t2u.pt"

    return write


@pytest.mark.parametrize("form", FORMS)
def test_it_is_imported_with_all_values(save, weights, tmp_path, form):
    path = save(form)
    assert holds_text_to_unit(path)
    import_text_to_unit(path, tmp_path / "model")
    model, phones, units, shift = load_text_to_unit(tmp_path / "model")
    assert phones is AUTHORS_PHONES and shift == 0.02
    assert units.symbols == tuple(map(str, range(UNITS)))
    state = model.state_dict()
    assert state.keys() == weights.keys() - UNUSED.keys()
    assert all(torch.equal(state[name], weights[name]) for name in state)
    assert model.config.predictor_dropout == 0.5 and model.config.ffn_kernel == 9


def test_an_export_gives_back_what_was_imported(save, weights, tmp_path, run_main):
    run_main("import_checkpoint", "--input", save("args"), "--output", tmp_path / "model")
    out = tmp_path / "back.pt"
    run_main("export_checkpoint", "--input", tmp_path / "model", "--output", out)
    content = torch.load(out, weights_only=True)
    assert content["args"] == OPTIONS and list(content["model"]) == list(weights)
    assert all(torch.equal(content["model"][name], weights[name]) for name in weights)
    import_text_to_unit(out, tmp_path / "again")
    both = [tmp_path / name / "model.safetensors" for name in ("model", "again")]
    assert both[0].read_bytes() == both[1].read_bytes()


def test_an_export_to_a_full_disk_is_an_error_of_the_system(save, tmp_path, full_disk):
    import_text_to_unit(save(), tmp_path / "model")
    out = tmp_path / "out.pt"
    with full_disk(2000), pytest.raises(OSError, match=f"{out} cannot be written: is the disk"):
        export_text_to_unit(tmp_path / "model", out)
    assert not out.exists()


def test_only_imported_models_are_exported(tmp_path):
    with pytest.raises(ValueError, match="holds no text-to-unit model"):
        export_text_to_unit(tmp_path, tmp_path / "out.pt")


WRONG = [
    ({"changes": {"use_pitch": True}}, r"has not: use_pitch true \(expected false\)"),
    ({"changes": {"decoder_embed_dim": 32}}, r"decoder_embed_dim 32 \(expected 16\)"),
    ({"changes": {"encoder_layers": 2}}, "missing: encoder.encoder_fft_layers.1"),
    ({"changes": {"encoder_layers": 10**9}}, "more layers than it has weights"),
    ({"changes": {"dropout": "x"}}, "no network has its options: dropout"),
    ({"encoder.embed_tokens.weight": torch.zeros(45, 16)}, "found 45 and 15"),
    ({"encoder.odd": torch.zeros(1)}, "not of this model: encoder.odd"),
    ({"encoder.pos_emb_alpha": torch.full((1,), float("nan"))}, "not finite"),
]


@pytest.mark.parametrize(("change", "message"), WRONG)
def test_what_does_not_fit_is_named(save, tmp_path, change, message):
    with pytest.raises(ValueError, match=message) as error:
        import_text_to_unit(save(**change), tmp_path / "model")
    assert "t2u.pt" in str(error.value) and not (tmp_path / "model").exists()


def test_a_speechlm_import_says_what_it_is(save, tmp_path):
    with pytest.raises(ValueError, match=r"a text-to-unit model .*import_text_to_unit"):
        import_checkpoint(save(), tmp_path / "model")


def test_units_get_the_names_of_a_dictionary(save, tmp_path):
    names = [f"u{n}" for n in range(UNITS)]
    (tmp_path / "dict").write_text("".join(f"{name} 1\n" for name in names))
    made = import_text_to_unit(save(), tmp_path / "model", tmp_path / "dict")
    assert made.units.symbols == tuple(names)
    (tmp_path / "dict").write_text("a 1\n")
    with pytest.raises(ValueError, match="has 1 units, the model of .* 11"):
        import_text_to_unit(save(), tmp_path / "other", tmp_path / "dict")


def test_every_phone_of_ours_has_the_symbol_of_its_name():
    ours, theirs = phone_of_unit(), phone_of_unit(AUTHORS_PHONES)
    units = UnitVocabulary.phones()
    for unit in range(units.n_ids):
        symbol = MONOPHONES.to_symbols([ours[unit]])[0] if ours[unit] >= 0 else None
        expected = {"SIL": "<SIL>", "SPN": None}.get(symbol, symbol)
        found = AUTHORS_PHONES.to_symbols([theirs[unit]])[0] if theirs[unit] >= 0 else None
        assert found == expected, units.to_symbols([unit])
    used = set(theirs) - {-1}
    assert len(AUTHORS_PHONES) == 42 and used == {2, 5, *range(7, 46)}  # all but | and '


def test_phones_are_those_of_the_release(shared):
    folder = shared / "data/official_label_samples/SpeechLM/dataset/LibriSpeech/fast_phone2unit"
    lines = (folder / "dict.phn.txt").read_text().splitlines()
    assert tuple(line.split()[0] for line in lines) == AUTHORS_PHONES.symbols
    rows = (folder / "genset_examples.tsv").read_text().splitlines()[1:]
    texts = [row.split("\t")[3].split() for row in rows]
    known = {AUTHORS_PHONES.symbols[n - 4] for n in set(phone_of_unit(AUTHORS_PHONES)) if n >= 4}
    assert {phone for text in texts for phone in text} <= known
    assert all(text[0] == text[-1] == "<SIL>" for text in texts)
    # equal neighbours stay apart in what they generate from
    assert any(a == b for text in texts for a, b in zip(text, text[1:], strict=False))


def test_text_is_made_of_them(save, tmp_path):
    model = import_text_to_unit(save(), tmp_path / "model").model
    tokenizer = HiddenTextTokenizer(model, LEXICON, 1, 0.0, phones=AUTHORS_PHONES)
    lines = ["LESS SEND", "LESS NOISE", "O", "SEND"]
    rows, kept, dropped, unknown = tokenizer.phones(lines, range(4))
    assert kept.tolist() == [0, 2, 3] and unknown == {"NOISE": 1}
    assert [(line.index, line.reason) for line in dropped] == [
        (1, "a word that the lexicon lacks, and the model has no phone of noise")
    ]
    spelled = " ".join(AUTHORS_PHONES.to_symbols(rows[0]))
    assert spelled == "<SIL> L EH S S EH N D <SIL> </s>"
    alone = model.generate([torch.from_numpy(rows[0])])[0]
    assert np.array_equal(tokenizer(lines, range(4)).rows[0], alone) and len(alone)


def test_units_of_a_corpus(save, tmp_path):
    import_text_to_unit(save(), tmp_path / "model")
    (tmp_path / "text").write_text("LESS SEND\nLESS NOISE\nSEND O\n")
    LEXICON.write(tmp_path / "lexicon.txt")
    files = (tmp_path / name for name in ("text", "model", "lexicon.txt", "units"))
    generate_units(Generation(*files), 1, 1)
    report = finish(tmp_path / "text", tmp_path / "units")
    assert "dropped: 1 lines; unknown words: 1 (1 times)" in report
    store = UnitStore(tmp_path / "units")
    assert [len(store[n]) > 0 for n in range(3)] == [True, False, True]
    assert store.units.symbols == tuple(map(str, range(UNITS)))


def test_the_golden_checkpoint_gives_the_golden_units(shared, tmp_path):
    """Without padding the values are the authors' own."""
    folder = shared / "golden"
    content = torch.load(folder / "tiny_t2u.pt", weights_only=True)
    assert tuple(content["src_symbols"][4:]) == AUTHORS_PHONES.symbols
    model = import_text_to_unit(folder / "tiny_t2u.pt", tmp_path / "model").model
    arrays = np.load(folder / "tiny_t2u_io.npz", allow_pickle=False)
    longest = int(arrays["in.src_lengths"].argmax())
    phones = torch.from_numpy(arrays["in.src_tokens"][longest : longest + 1])
    predicted = model.predict(phones)
    assert torch.equal(
        predicted.durations[0], torch.from_numpy(arrays["pred_dur.durations"][longest])
    )
    units = predicted.logits[0].argmax(-1).numpy()
    assert np.array_equal(units, arrays[f"pred_dur.units_{longest}"])
