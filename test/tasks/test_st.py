"""Translation fine-tuning, warm starts, decoding of its result, and what is refused."""

import dataclasses
import re
import shutil

import pytest
import soundfile
import torch
import yaml

from speechlm.checkpoints.fine_tuned import read_encoder
from speechlm.checkpoints.model_dir import load_speechlm
from speechlm.checkpoints.trainer_files import load_weights_only
from speechlm.checkpoints.translation import load_translator
from speechlm.data.audio import read_audio
from speechlm.data.kaldi_dir import DataDir
from speechlm.data.report import Report
from speechlm.data.target_text import VocabularyOptions, train_vocabulary
from speechlm.decode.beam_search import BeamOptions
from speechlm.decode.hypotheses import merge_hypotheses
from speechlm.decode.translate import PARTIAL, translate, translate_dir
from speechlm.tasks.run_asr import finetune_asr
from speechlm.tasks.run_pretrain import pretrain
from speechlm.tasks.run_st import TranslationData, finetune_st

DECODER = {"embed_dim": 32, "ffn_dim": 64, "layers": 1, "heads": 2}
CONF = {
    "config_size": "tiny",
    "batch_bins": 320000,
    "max_epoch": 2,
    "num_iters_per_epoch": 4,
    "optim_conf": {"lr": 2.0e-3},
    "scheduler_conf": {"warmup_steps": 0},
    "num_workers": 0,
    "use_matplotlib": False,
    "use_tensorboard": False,
    "keep_nbest_models": 2,
    "encoder_conf": {"time_mask_prob": 0.1, "time_mask_length": 3},
    "decoder_conf": DECODER,
}


def backwards(text: str) -> str:
    """A translation: words in reverse order, as a sentence."""
    return " ".join(reversed(text.lower().split())).capitalize() + "."


@pytest.fixture(scope="module")
def bilingual(tmp_path_factory, make_data_dir):
    """Folder with the data directories train and dev, and the vocabularies char and other."""
    root = tmp_path_factory.mktemp("bilingual")
    for name, n, seed in (("train", 24, 5), ("dev", 6, 6)):
        data = make_data_dir(root / name, n, seed, units=False)
        data.translations = {"de": {u: backwards(text) for u, text in data.text.items()}}
        data.write(root / name)
    sentences = list(DataDir.read(root / "train").translation("de").values())
    train_vocabulary(sentences, VocabularyOptions(), "train").write(root / "char", {})
    other = [s.upper() + "ß" for s in sentences] + sentences
    train_vocabulary(other, VocabularyOptions(), "other").write(root / "other", {})
    return root


@pytest.fixture
def tune(tmp_path, bilingual):
    """Function that fine-tunes with changes of the configuration."""

    def run(name="exp", init=None, init_decoder=None, vocabulary="char", language="de", **changes):
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump({**CONF, "max_epoch": 1, **changes}))
        data = TranslationData(
            bilingual / "train", bilingual / "dev", language, bilingual / vocabulary
        )
        return finetune_st(tmp_path / name, str(path), data, init, init_decoder, {"seed": 3})

    return run


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory, config_values, data_options):
    folder = tmp_path_factory.mktemp("pretrained")
    config = config_values(folder, "pretrain", max_epoch=1, num_iters_per_epoch=3)
    return pretrain(folder / "exp", config, data_options)


@pytest.fixture(scope="module")
def translator(tmp_path_factory, bilingual, pretrained):
    """A translation fine-tuning from the pre-trained model."""
    folder = tmp_path_factory.mktemp("translator")
    (folder / "st.yaml").write_text(yaml.safe_dump(CONF))
    data = TranslationData(bilingual / "train", bilingual / "dev", "de", bilingual / "char")
    return finetune_st(folder / "exp", str(folder / "st.yaml"), data, pretrained, None, {"seed": 3})


def test_it_starts_from_the_pretrained_encoder(pretrained, translator):
    initial = load_weights_only(translator / "init.pth")
    final = load_weights_only(translator / "latest.pth")
    own = load_speechlm(pretrained)[0].state_dict()
    encoder = {n.removeprefix("model.speechlm."): w for n, w in initial.items()}
    assert all(torch.equal(weight, own[name]) for name, weight in encoder.items())
    assert {n for n in final if n.startswith("model.speechlm.")} == set(initial)
    assert not any(name.startswith(("unit_encoder_ctc_head", "label_embs")) for name in encoder)
    changed = "model.speechlm.unit_encoder.layers.0.fc1.weight"
    assert not torch.equal(initial[changed], final[changed])


def test_the_folder_says_everything(translator):
    values = yaml.safe_load((translator / "config.yaml").read_text())
    assert values["decoder_conf"]["encoder_dim"] == values["encoder_conf"]["speechlm"]["embed_dim"]
    assert values["decoder_conf"]["label_smoothing"] == 0.1
    assert (translator / "vocabulary" / "spm.model").is_file()
    stats = load_weights_only(translator / "checkpoint.pth")["reporter"]["stats"]
    assert stats[2]["train"]["loss"] < stats[1]["train"]["loss"]
    assert {"loss", "nll", "accuracy"} <= stats[2]["valid"].keys()


def test_from_scratch_the_front_end_learns(tune):
    shape = {
        "embed_dim": 32,
        "ffn_dim": 64,
        "heads": 2,
        "speech_layers": 1,
        "shared_layers": 1,
        "feature_grad_mult": 0.0,
    }
    folder = tune(encoder_conf={"speechlm": shape}, num_iters_per_epoch=1)
    values = yaml.safe_load((folder / "config.yaml").read_text())
    assert values["encoder_conf"]["speechlm"]["feature_grad_mult"] == 1.0
    assert not (folder / "init.pth").exists()


def test_training_goes_on_as_it_was_begun(tune, capsys):
    folder = tune()
    assert tune() == folder
    assert "goes on with another value" not in capsys.readouterr().err
    with pytest.raises(ValueError, match=r"decoder_conf\.layers: \d, now 4"):
        tune(decoder_conf={**CONF["decoder_conf"], "layers": 4})


def test_warm_starts_from_fine_tunings(tune, tmp_path, config, chords, pretrained, translator):
    asr = finetune_asr(
        tmp_path / "asr",
        config("finetune", max_epoch=1, num_iters_per_epoch=1),
        chords / "train",
        chords / "dev",
        pretrained,
        {"seed": 3},
    )
    weights = load_weights_only(asr / "valid.cer_ctc.ave.pth")
    _, found = read_encoder(asr, {})
    assert found and all(torch.equal(w, weights[f"encoder.speechlm.{n}"]) for n, w in found.items())
    folder = tune("from_asr", init=asr, num_iters_per_epoch=1)
    initial = load_weights_only(folder / "init.pth")
    assert {n.removeprefix("model.speechlm.") for n in initial} == set(found)
    assert set(read_encoder(translator, {})[1]) == set(found)


def test_a_decoder_for_another_vocabulary_keeps_known_tokens(tune, translator, pretrained, caplog):
    with caplog.at_level("INFO"):
        folder = tune("other", pretrained, translator, vocabulary="other", num_iters_per_epoch=1)
    _, old = load_translator(translator)
    _, new = load_translator(folder)
    assert f"{len(old)} of {len(new)} tokens are known" in caplog.text and len(new) > len(old)
    weights = load_weights_only(translator / "valid.accuracy.ave.pth")
    initial = load_weights_only(folder / "init.pth")
    for name in ("model.decoder.embed_tokens.weight", "model.decoder.output_projection.weight"):
        row = new.tokens.index("e")
        assert torch.equal(initial[name][row], weights[name][old.tokens.index("e")])
        assert len(initial[name]) == len(new)
    with pytest.raises(ValueError, match="has layers 1, expected 2"):
        tune("deeper", pretrained, translator, decoder_conf={**DECODER, "layers": 2})
    with pytest.raises(ValueError, match="kind pretrained, not translation"):
        tune("none", pretrained, pretrained)


def test_what_is_refused(tune, pretrained, bilingual, tmp_path):
    with pytest.raises(ValueError, match="into fr expected.*there are: de"):
        tune(language="fr")
    with pytest.raises(ValueError, match="train_vocabulary makes it"):
        tune(vocabulary="nowhere")
    with pytest.raises(ValueError, match='unknown option "mask_prob".*"time_mask_prob"'):
        tune(encoder_conf={"mask_prob": 0.5})
    with pytest.raises(ValueError, match='unknown model option "layer"; did you mean "layers"'):
        tune(decoder_conf={"layer": 2})
    with pytest.raises(ValueError, match="holds no trained model"):
        tune(init=tmp_path)
    arabic = train_vocabulary(["كلب"], VocabularyOptions(), "arabic")
    arabic.write(bilingual / "arabic", {})
    with pytest.raises(ValueError, match="does not cover .*text.de"):
        tune(vocabulary="arabic")
    tune("twice", pretrained, num_iters_per_epoch=1)
    with pytest.raises(ValueError, match="is another vocabulary than"):
        tune("twice", pretrained, vocabulary="other", num_iters_per_epoch=1)


def test_sentences_without_words_are_refused(tune, bilingual):
    sentences = list(DataDir.read(bilingual / "train").translation("de").values())
    lower = train_vocabulary(sentences, VocabularyOptions(style="lower"), "x")
    lower.write(bilingual / "lower", {})
    path = bilingual / "dev" / "text.de"
    before = path.read_text()
    path.write_text(re.sub(r"(?m)^(\S+) .*\Z", r"\1 ...\n", before.rstrip("\n")))
    try:
        with pytest.raises(ValueError, match="1 translations are empty in the style lower"):
            tune(vocabulary="lower")
    finally:
        path.write_text(before)


def test_long_targets_are_left_out_and_listed(tune, bilingual):
    path = bilingual / "train" / "text.de"
    before = path.read_text()
    first, second, *rest = before.splitlines()
    word = second.split()[1]
    long = [
        f"{line.split()[0]} {(word * 1024)[:count]}"
        for line, count in ((first, 1023), (second, 1022))
    ]
    path.write_text("\n".join([*long, *rest]) + "\n")
    try:  # with the first word's mark and EOS these are 1,025 and 1,024 tokens
        folder = tune("long", num_iters_per_epoch=1)
    finally:
        path.write_text(before)
    left_out = first.split()[0]
    taken = (folder / "utt2num_samples.train").read_text()
    assert left_out not in taken and second.split()[0] in taken
    assert len(taken.splitlines()) == len(rest) + 1
    report = (folder / "left_out.train.tsv").read_text()
    assert f"target too long\t{left_out}\t{path}\t1025 tokens, 1024 at most" in report
    assert Report.read(folder / "left_out.valid.tsv").items == []


def test_from_a_fast_encoder(model_folder, bilingual, tmp_path):
    """What has no frame of 55 ms is left out, and listed; the result is opened and decodes."""
    for part in ("train", "dev"):
        data = DataDir.read(bilingual / part)
        data = data.subset(data.ids[:6])
        wave = read_audio(data.wav[data.ids[0]])[3000:3879]  # two frames of the paper's
        data.wav[data.ids[0]], data.n_samples[data.ids[0]] = str(tmp_path / f"{part}.wav"), 879
        soundfile.write(data.wav[data.ids[0]], wave, 16000)
        data.write(tmp_path / part)
    short = data.ids[0]
    values = {**CONF, "max_epoch": 1, "num_iters_per_epoch": 1, "keep_nbest_models": 1}
    (tmp_path / "st.yaml").write_text(yaml.safe_dump(values | {"config_size": "fast_tiny"}))
    given = TranslationData(tmp_path / "train", tmp_path / "dev", "de", bilingual / "char")
    init = model_folder("fast_tiny")
    exp = finetune_st(tmp_path / "exp", str(tmp_path / "st.yaml"), given, init, None, {"seed": 3})
    for part in ("train", "valid"):
        (item,) = Report.read(exp / f"left_out.{part}.tsv").items
        assert (item.what, item.kind) == ("filtered", "too short")
        assert item.detail == "879 samples, a frame has 880"
        assert item.utterance not in (exp / f"utt2num_samples.{part}").read_text()
    model, _ = load_translator(exp)
    assert model.framing.window == 880
    features, _ = model.encode(torch.randn(1, 9000), torch.tensor([9000]))
    assert features.shape == (1, 13, 32)
    done = translate_dir(exp, tmp_path / "dev", tmp_path / "out", BeamOptions(beam=1, max_tokens=9))
    assert set(done) == set(data.ids) and done[short].text == ""
    config, weights = read_encoder(exp, {"dropout": 0.5})
    assert config.is_fast and config.dropout == 0.5
    assert "feature_extractor.second.weight" in weights
    with pytest.raises(ValueError, match=r"^feature_grad_mult: .*encoder_conf\.speechlm"):
        read_encoder(exp, {"feature_grad_mult": 0.0})


def test_decoding_does_not_depend_on_batches(translator, bilingual):
    model, vocabulary = load_translator(translator)
    data, options = DataDir.read(bilingual / "dev"), BeamOptions(beam=3)
    results = []
    for batch_samples in (1, 10_000_000):
        found = {}
        for batch in translate(model, vocabulary, data, options, batch_samples):
            found |= batch
        results.append(found)
    assert {u: t.text for u, t in results[0].items()} == {u: t.text for u, t in results[1].items()}
    assert set(results[0]) == set(data.ids)
    for utterance in data.ids:
        assert abs(results[0][utterance].score - results[1][utterance].score) < 1e-4


def test_decoding_goes_on_where_it_was(translator, bilingual, tmp_path, monkeypatch):
    data, options = DataDir.read(bilingual / "dev"), BeamOptions(beam=2)
    whole = translate_dir(translator, bilingual / "dev", tmp_path / "whole" / "1", options)
    first = tmp_path / "out" / "1"
    translate_dir(translator, bilingual / "dev", first, options, batch_samples=1)
    lines = (first / PARTIAL).read_text().splitlines(keepends=True)
    (first / PARTIAL).write_text("".join(lines[:4]) + lines[4][:10])  # killed while writing
    made = []
    monkeypatch.setattr(
        "speechlm.data.segments.read_audio",
        lambda path, *where: made.append(path) or read_audio(path, *where),
    )
    for job, ids in enumerate((data.ids[::2], data.ids[1::2]), 1):
        data.subset(ids).write(tmp_path / "split" / str(job))
        translate_dir(
            translator, tmp_path / "split" / str(job), tmp_path / "out" / str(job), options
        )
    assert len(made) == len(data) - 3
    merge_hypotheses([str(tmp_path / "out" / job) for job in "12"], tmp_path / "all")
    text = (tmp_path / "all" / "text").read_text()
    assert text == (tmp_path / "whole" / "1" / "text").read_text()
    assert set(whole) == set(data.ids)
    made.clear()
    replaced = data.ids[2]
    data.wav[replaced] = str(tmp_path / "other.wav")
    shutil.copy(data.wav[data.ids[3]], data.wav[replaced])
    data.n_samples[replaced] = data.n_samples[data.ids[3]]
    data.write(tmp_path / "data")
    translate_dir(translator, tmp_path / "data", first, options)
    assert made == [data.wav[replaced]]  # another recording under a known name
    made.clear()  # other options begin anew
    translate_dir(translator, bilingual / "dev", first, BeamOptions(beam=1))
    assert len(made) == len(data)


def test_very_short_utterances_get_nothing(translator, tmp_path, bilingual):
    data = DataDir.read(bilingual / "dev").subset(DataDir.read(bilingual / "dev").ids[:2])
    data.n_samples[data.ids[0]] = 300
    data.write(tmp_path / "data")
    done = translate_dir(translator, tmp_path / "data", tmp_path / "out", BeamOptions(beam=1))
    assert done[data.ids[0]].text == ""


def test_folders_without_a_translator(tmp_path, bilingual, pretrained):
    with pytest.raises(ValueError, match="holds no fine-tuning of translation"):
        translate_dir(pretrained, bilingual / "dev", tmp_path / "out", BeamOptions())
    with pytest.raises(ValueError, match=r"config.yaml expected"):
        translate_dir(tmp_path, bilingual / "dev", tmp_path / "out", BeamOptions())


def test_translation_of_parts_of_recordings(translator, bilingual, join_recordings, tmp_path):
    options = BeamOptions(beam=2)
    join_recordings(bilingual / "dev", tmp_path / "data")
    whole = translate_dir(translator, bilingual / "dev", tmp_path / "whole" / "1", options)
    parts = translate_dir(translator, tmp_path / "data", tmp_path / "parts" / "1", options)
    assert {u: t.text for u, t in parts.items()} == {u: t.text for u, t in whole.items()}
    # a part that has moved within its recording is translated anew
    data = DataDir.read(tmp_path / "data")
    moved = data.segments[data.ids[0]]
    segments = {**data.segments, data.ids[0]: dataclasses.replace(moved, start=moved.start + 0.1)}
    data.n_samples[data.ids[0]] -= 1600
    dataclasses.replace(data, segments=segments).write(tmp_path / "data")
    lines = (tmp_path / "parts" / "1" / PARTIAL).read_text().splitlines()
    translate_dir(translator, tmp_path / "data", tmp_path / "parts" / "1", options)
    assert len((tmp_path / "parts" / "1" / PARTIAL).read_text().splitlines()) == len(lines) + 1
