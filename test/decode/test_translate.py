"""A translation model in Python and as a program writes what the recipe's decoder writes."""

import dataclasses

import numpy as np
import pytest
import soundfile
import torch
import yaml

import speechlm
from speechlm.checkpoints.model_dir import load_speechlm
from speechlm.checkpoints.translation import TranslationModel
from speechlm.data.audio_parts import AudioError
from speechlm.data.kaldi_dir import DataDir
from speechlm.data.target_text import VocabularyOptions, train_vocabulary
from speechlm.decode.beam_search import BeamOptions
from speechlm.decode.translate import translate_dir
from speechlm.models.translation_decoder import TranslationDecoderConfig

LENGTHS = (9000, 24000, 4000, 16000, 9000)
SEARCH = {"beam": 3, "length_penalty": 0.5, "max_tokens": 12}
WEIGHTS = "valid.accuracy.ave.pth"


def noise():
    """Waveforms (S,) of different lengths, loudness and color."""
    random = np.random.default_rng(0)
    for n, length in enumerate(LENGTHS):
        white = random.standard_normal(length + 8)
        yield np.convolve(white, np.ones(n + 1), "same")[:length].astype("float32") * 0.3 / 2**n


@torch.no_grad()
def write_many_letters(model):
    """Let what is written depend on how the speech differs from the mean of all."""
    seen = [model.encode(torch.from_numpy(wave)[None], None)[0][0] for wave in noise()]
    mean = torch.cat(seen).mean(0)
    for layer in model.decoder.layers:
        values = layer.encoder_attn.v_proj
        values.weight.mul_(30)
        values.bias.copy_(-values.weight @ mean)
    model.decoder.output_projection.weight.mul_(30)


@pytest.fixture(scope="module")
def make_translator(tmp_path_factory, model_folder):
    """Function: size, changes -> folder of a random translation model, as ESPnet leaves one."""

    def make(size: str, **changes):
        encoder, _ = load_speechlm(model_folder(size, **changes))
        config = encoder.config
        folder = tmp_path_factory.mktemp("st") / "st"
        folder.mkdir()
        sentences = ["Der Hund sieht zwölf Boxkämpfer.", "quick vexed nymphs"]
        vocabulary = train_vocabulary(sentences, VocabularyOptions(), "a test")
        vocabulary.write(folder / "vocabulary", {})
        torch.manual_seed(1)
        values = TranslationDecoderConfig(config.embed_dim, 32, ffn_dim=64, layers=1, heads=2)
        model = TranslationModel(config, values, len(vocabulary))
        model.speechlm.load_state_dict(encoder.state_dict(), strict=False)
        write_many_letters(model.eval())
        weights = {f"model.{name}": weight for name, weight in model.state_dict().items()}
        torch.save(weights, folder / WEIGHTS)
        conf = {"decoder_conf": dataclasses.asdict(values)}
        conf["encoder_conf"] = {"speechlm": config.to_dict()}
        (folder / "config.yaml").write_text(yaml.safe_dump(conf))
        return folder

    return make


@pytest.fixture(scope="module", params=["base", "fast_tiny"])
def translator(request, make_translator):
    return make_translator(request.param)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Data directory of noise of different lengths and loudness."""
    folder = tmp_path_factory.mktemp("data")
    wav = {f"u{n}": str(folder / f"u{n}.wav") for n in range(len(LENGTHS))}
    for path, wave in zip(wav.values(), noise(), strict=True):
        soundfile.write(path, wave, 16000)
    samples = dict(zip(wav, LENGTHS, strict=True))
    speakers = {u: u for u in wav}
    DataDir(wav=wav, n_samples=samples, utt2spk=speakers).write(folder / "data")
    return folder / "data"


@pytest.fixture
def waves(data):
    read = DataDir.read(data)
    return [read.waveform(utterance) for utterance in read.ids]


def test_it_writes_what_the_recipes_decoder_writes(translator, data, waves, tmp_path):
    expected = translate_dir(translator, data, tmp_path / "out", BeamOptions(**SEARCH))
    expected = [expected[utterance] for utterance in DataDir.read(data).ids]
    texts = [found.text for found in expected]
    assert len(set(texts)) > 2
    for changes in ({}, {"ignore_padding": True}):  # the paper's model has it only where asked for
        model = speechlm.SpeechLM.from_pretrained(translator, **changes).train()
        state = model.state_dict().keys()
        for batch_samples in (1, 50_000, 1_600_000):
            found = model.translate(waves, **SEARCH, batch_samples=batch_samples)
            assert [one.text for one in found] == texts
            scores = [(one.score, own.score) for one, own in zip(found, expected, strict=True)]
            assert all(abs(ours - own) < 1e-4 for ours, own in scores)
        assert model.training and model.state_dict().keys() == state
    files = list(DataDir.read(data).wav.values())
    mixed = [files[0], torch.from_numpy(waves[1]), *files[2:]]
    assert [found.text for found in model.translate(mixed, **SEARCH)] == texts
    assert model.translate([]) == []
    other = model.translate(waves, **SEARCH | {"max_tokens": 5})
    assert [found.text for found in other] != texts


def test_recordings_go_to_the_network_in_batches(make_translator, waves, monkeypatch):
    model = speechlm.SpeechLM.from_pretrained(make_translator("base"), ignore_padding=True)
    shapes, encode = [], model.encode
    monkeypatch.setattr(
        model, "encode", lambda wave, *rest: shapes.append(tuple(wave.shape)) or encode(wave, *rest)
    )
    for limit in (1_600_000, 48_000, 1):
        model.translate(waves, beam=1, max_tokens=2, batch_samples=limit)
    together = [(5, 24000)]
    pairs = [(2, 24000), (3, 16000)]
    assert shapes == together + pairs + [(1, length) for length in LENGTHS]


def test_models_of_other_kinds_say_which_call_is_meant(
    translator, model_folder, save_fine_tuning, waves, tmp_path
):
    pretrained = model_folder()
    ctc = save_fine_tuning(pretrained, tmp_path / "asr")
    for folder, message in (
        (ctc, r"asr holds no fine-tuning of translation, but a model of kind ctc; .* transcribe"),
        (pretrained, r"of kind pretrained; fine-tune it first \(finetune_st\)"),
    ):
        with pytest.raises(ValueError, match=message):
            speechlm.SpeechLM.from_pretrained(folder).translate(waves)
    with pytest.raises(ValueError, match=r"of kind translation, not ctc; .* translate in Python"):
        speechlm.SpeechLM.from_pretrained(translator).transcribe(waves)


def test_wrong_input_is_explained(translator, waves):
    model = speechlm.SpeechLM.from_pretrained(translator)
    for audio, message in (
        (waves[0], "a list of files and waveforms expected"),
        ("hello.wav", "a list of files and waveforms expected"),
        ([waves[0], waves[1][:300]], "waveform 1: 300 samples, one frame has"),
        ([waves[0], waves[1] * float("nan")], "waveform 1: some samples are not finite"),
        (["absent.wav"], r"absent\.wav: .*no such file"),
    ):
        with pytest.raises(ValueError, match=message):
            model.translate(audio, **SEARCH)
    with pytest.raises(AudioError):
        model.translate([waves[0][:0]])
    with pytest.raises(ValueError, match="beam: expected a positive integer, got 0"):
        model.translate(waves, beam=0)


def test_a_decoder_that_does_not_fit_is_refused(make_translator, waves):
    folder = make_translator("fast_tiny")
    weights = torch.load(folder / WEIGHTS, weights_only=True)
    del weights["model.decoder.embed_tokens.weight"]
    torch.save(weights, folder / WEIGHTS)
    values = yaml.safe_load((folder / "config.yaml").read_text())
    model = speechlm.SpeechLM.from_pretrained(folder)
    with pytest.raises(ValueError, match=r"ave\.pth does not fit .*1 missing: embed_tokens"):
        model.translate(waves)
    values["decoder_conf"]["encoder_dim"] = 48
    (folder / "config.yaml").write_text(yaml.safe_dump(values))
    with pytest.raises(ValueError, match="encoder_dim 48, but the encoder's width is 32"):
        model.translate(waves)


def test_the_program_goes_on_after_faulty_files(translator, data, run_main, tmp_path):
    files = list(DataDir.read(data).wav.values())
    model = speechlm.SpeechLM.from_pretrained(translator)
    texts = [found.text for found in model.translate(files, **SEARCH)]
    options = [f"--{name}={value}" for name, value in SEARCH.items()]
    soundfile.write(tmp_path / "short.wav", np.full(300, 0.1), 16000)
    audio = [*files[:2], tmp_path / "short.wav", *files[2:]]
    done = run_main("translate", "--model", translator, *options, *audio)
    assert done.returncode == 1 and "error: 1 recordings have no translation" in done.stderr
    assert done.stdout.split("\n") == [*texts[:2], "", *texts[2:], ""]
    output = tmp_path / "out"
    done = run_main("translate", "--model", translator, *options, "--output", output, *audio)
    assert done.returncode == 1 and done.stdout == ""
    assert [(output / f"u{n}.txt").read_text() for n in range(5)] == [f"{t}\n" for t in texts]
    assert "too short" in (output / "report.tsv").read_text()
    done = run_main("transcribe", "--model", translator, files[0])
    assert done.returncode == 1 and "it does not transcribe, it translates" in done.stderr
    done = run_main("translate", "--model", translator, "--beam", "0", files[0])
    assert done.returncode == 1 and done.stderr.count("beam: expected a positive") == 1
