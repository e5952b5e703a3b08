"""`speechlm.SpeechLM.from_pretrained` opens every kind of folder, and says what others hold.

Fine-tunings are written here as ESPnet leaves them; test/tasks opens trained ones.
"""

import numpy as np
import pytest
import torch
import yaml

import speechlm
from speechlm.checkpoints.ctc_encoder import CTCEncoder
from speechlm.checkpoints.fine_tuned import ESPNET_NAMES
from speechlm.checkpoints.folder_contents import HALLMARKS
from speechlm.checkpoints.hub_folder import HUB_CONFIG
from speechlm.checkpoints.model_dir import load_speechlm
from speechlm.checkpoints.pretrained import model_files
from speechlm.data.vocabulary import CharacterVocabulary
from speechlm.decode.long_audio import WindowOptions
from speechlm.models.without_heads import without_heads

WAVES, LENGTHS = torch.sin(torch.arange(2 * 20000).view(2, -1) ** 1.2), torch.tensor([20000, 9000])


@pytest.fixture(params=["base", "fast_tiny"])
def pretrained(request, model_folder):
    """A pre-trained folder of either architecture; group norm sees padding in the paper's."""
    return model_folder(request.param)


@pytest.fixture
def ctc_folder(pretrained, tmp_path, save_fine_tuning):
    """A CTC fine-tuning of the model."""
    return save_fine_tuning(pretrained, tmp_path / "asr")


@pytest.fixture
def translation_folder(pretrained, tmp_path):
    """A translation's; its decoder is not looked at."""
    model = without_heads(load_speechlm(pretrained)[0])
    weights = {f"model.speechlm.{n}": w for n, w in model.state_dict().items()}
    weights["model.decoder.embed_tokens.weight"] = torch.ones(9, 8)
    values = {"encoder_conf": {"speechlm": model.config.to_dict()}, "decoder_conf": {"layers": 1}}
    (tmp_path / "st").mkdir()
    (tmp_path / "st" / "config.yaml").write_text(yaml.safe_dump(values))
    torch.save(weights, tmp_path / "st" / "valid.accuracy.best.pth")
    return tmp_path / "st"


def features(folder, **changes):
    model = speechlm.SpeechLM.from_pretrained(folder, **changes)
    assert not model.training
    return model, model.extract_features(WAVES, LENGTHS, layers="all")[0]


def same(found, expected):
    return len(found) == len(expected) and all(map(torch.equal, found, expected))


def test_a_ctc_fine_tuning_opens_and_transcribes(pretrained, ctc_folder):
    (model, found), (start, expected) = features(ctc_folder), features(pretrained)
    assert (start.kind, model.kind) == ("pretrained", "ctc") and same(found, expected)
    assert model.config == start.config and model.unit_embed_tokens is None
    waves = [WAVES[0], WAVES[1, :9000]]
    texts = [t.text for t in model.transcribe(waves)]
    assert texts == [t.text for t in speechlm.CTC.from_pretrained(ctc_folder).transcribe(waves)]
    assert all(texts) and texts[0] != texts[1]
    trained = CTCEncoder(model.config).state_dict().keys()  # what ESPnet's encoder is
    assert {f"speechlm.{n}" for n in model.state_dict() if "head.5" not in n} == trained


def test_files_of_a_model(pretrained, ctc_folder):
    """Results are marked with these: they are computed again when one has changed."""
    for folder, weights in (pretrained, "model.safetensors"), (ctc_folder, "valid.wer_ctc.ave.pth"):
        assert model_files(folder) == [folder / "config.yaml", folder / weights]


def test_transcripts_do_not_depend_on_padding_nor_on_the_mode(
    model_folder, save_fine_tuning, tmp_path
):
    """Windows of a long recording go to the network together, unless padding would matter."""
    folder, texts = save_fine_tuning(model_folder(), tmp_path / "asr"), []
    long = np.concatenate([np.r_[w[:n], torch.zeros(n)] for w in WAVES for n in LENGTHS] * 3)
    for ignore in (True, False):
        model = speechlm.SpeechLM.from_pretrained(folder, ignore_padding=ignore).train()
        texts += [t.text for t in model.transcribe([long], window=WindowOptions(3.0, 2.0))]
        assert model.training
    assert texts[0] == texts[1] != ""


def test_a_translation_gives_features(pretrained, translation_folder):
    model, found = features(translation_folder)
    assert model.kind == "translation" and same(found, features(pretrained)[1])
    assert model.unit_encoder_ctc_head is None
    with pytest.raises(ValueError, match="st holds a model of kind translation, not ctc"):
        model.transcribe([WAVES[0]])


def test_a_pretrained_model_does_not_transcribe(pretrained):
    with pytest.raises(ValueError, match="holds a model of kind pretrained, not ctc"):
        speechlm.SpeechLM.from_pretrained(pretrained).transcribe([WAVES[0]])


def test_changes_reach_a_fine_tuning(ctc_folder):
    assert features(ctc_folder, dropout=0.5)[0].config.dropout == 0.5
    with pytest.raises(ValueError, match=r"asr/config\.yaml with .*dropuot.*did you mean"):
        features(ctc_folder, dropuot=0.5)


@pytest.mark.parametrize("change", [{"ffn_dim": 10**9}, {"shared_layers": 10**6}])
def test_wrong_sizes_take_no_memory(ctc_folder, change):
    path = ctc_folder / "config.yaml"
    values = yaml.safe_load(path.read_text())
    values["encoder_conf"]["speechlm"].update(change)
    path.write_text(yaml.safe_dump(values))
    with pytest.raises(ValueError, match=r"ave\.pth.* its configuration"):
        features(ctc_folder)


def test_weights_of_another_model_are_refused(ctc_folder):
    path = ctc_folder / "valid.wer_ctc.ave.pth"
    weights = torch.load(path, weights_only=True)
    del weights["encoder.speechlm.mask_emb"]
    weights["ctc.ctc_lo.bias"] = torch.zeros(9)
    torch.save(weights, path)
    with pytest.raises(ValueError, match=r"ave\.pth does not fit.*1 missing: mask_emb.*\(9,\)"):
        features(ctc_folder)
    path.unlink()
    with pytest.raises(ValueError, match=r"no valid\.wer_ctc\.ave\.pth or .*finished\?"):
        features(ctc_folder)


@pytest.mark.parametrize(
    "letters", ["eatonihsrdlumcwfgypbvk'xjqz", "enirtsadhlucgmobwfkzvüpäßjöyqx"]
)
def test_a_fine_tuning_in_another_language_gives_features_and_no_text(ctc_folder, letters):
    """With as many letters as English its outputs would be read as wrong ones."""
    expected = features(ctc_folder)[1]
    path = ctc_folder / "config.yaml"
    tokens = ["<blank>", "<pad>", "<sos/eos>", "<unk>", "<space>", *letters, "<mask>"]
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), "token_list": tokens}))
    path = ctc_folder / "valid.wer_ctc.ave.pth"
    weights = torch.load(path, weights_only=True)
    for name in ("ctc.ctc_lo.weight", "ctc.ctc_lo.bias"):
        rows = torch.arange(len(tokens)) % len(weights[name])
        weights[name] = weights[name][rows]
    torch.save(weights, path)
    model, found = features(ctc_folder)
    assert same(found, expected)
    wrong = r"asr/config\.yaml: the 33 characters <s> .* expected, those of.*For a model of another"
    for transcribe in (model.transcribe, lambda _: speechlm.CTC.from_pretrained(ctc_folder)):
        with pytest.raises(ValueError, match=wrong):
            transcribe([WAVES[0]])


def test_the_characters_of_a_fine_tuning_are_known_by_espnets_names(ctc_folder):
    names = [ESPNET_NAMES.get(symbol, symbol) for symbol in CharacterVocabulary.symbols]
    assert {"<blank>", "<sos/eos>", "<space>"} < set(names)
    path = ctc_folder / "config.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), "token_list": names}))
    speechlm.CTC.from_pretrained(ctc_folder)


@pytest.mark.parametrize("name", [name for name in HALLMARKS if name != HUB_CONFIG])
def test_other_folders_are_named(name, tmp_path):
    (tmp_path / name).touch()
    with pytest.raises(ValueError) as error:
        features(tmp_path)
    assert f"holds no trained model (found: {HALLMARKS[name]} ({name}))" in str(error.value)
    (tmp_path / "config.yaml").write_text("model_conf: {}\n")
    with pytest.raises(ValueError) as error:
        features(tmp_path)
    assert "no entry `speechlm`" in str(error.value) and HALLMARKS[name] in str(error.value)


def test_folders_beside_the_one_that_is_meant(tmp_path, pretrained):
    for folder, found in (
        (tmp_path / "gone", "no such folder on this machine"),
        (tmp_path, "nothing"),
    ):
        with pytest.raises(ValueError) as error:
            features(folder)
        assert str(error.value).endswith(f"holds no trained model (found: {found})")
    (tmp_path / "a.pt").touch()
    with pytest.raises(ValueError, match=r"found: a\.pt \(import_checkpoint makes"):
        features(tmp_path)
    (tmp_path / "asr").symlink_to(pretrained)
    with pytest.raises(ValueError, match="found: folders of trainings, asr"):
        features(tmp_path)
