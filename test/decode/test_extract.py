"""Features of data directories, in jobs, and SpeechLM in ESPnet's own recipes."""

import importlib
import re
import sys

import numpy as np
import pytest
import soundfile
import torch
import yaml

import speechlm
from speechlm.data.archives import ArchiveReader, merge_archives
from speechlm.data.audio import read_audio
from speechlm.data.dir_parts import split
from speechlm.data.kaldi_dir import DataDir
from speechlm.decode import extract as module
from speechlm.decode.extract import batches, extract_dir


@pytest.fixture(scope="module", params=["base", "large"])
def folder(request, model_folder):
    """A model folder."""
    return model_folder(request.param, shared_layers=1, ignore_padding=False)


@pytest.fixture(scope="module", params=["base", "large", "fast_base"])
def any_folder(request, model_folder):
    """A model folder of each architecture; a fast model's batches never depend on padding."""
    changes = {} if request.param == "fast_base" else {"ignore_padding": False}
    return model_folder(request.param, shared_layers=1, **changes)


@pytest.mark.parametrize("layer", ["last", "1", "3"])
def test_jobs_give_the_features_of_each_utterance_alone(any_folder, chords, tmp_path, layer):
    folder = any_folder
    data = DataDir.read(chords / "dev")
    split(chords / "dev", tmp_path / "split", 3)
    for job in range(1, 4):
        part = tmp_path / "split" / str(job)
        n = extract_dir(folder, part, tmp_path / "f", layer, job, 60_000)
        assert n == len(DataDir.read(part))
    assert merge_archives(tmp_path / "f", 3, "feats") == len(data)
    model = speechlm.SpeechLM.from_pretrained(folder)
    shift = "0.04" if model.config.is_fast else "0.02"
    assert (tmp_path / "f" / "frame_shift").read_text() == f"{shift}\n"
    found = ArchiveReader(tmp_path / "f" / "feats.scp")
    for utterance in data.ids:
        wave = torch.from_numpy(read_audio(data.wav[utterance]))[None]
        last, _ = model.extract_features(wave)
        every, _ = model.extract_features(wave, layers="all")
        expected = last[0] if layer == "last" else every[int(layer) - 1][0]
        assert found[utterance].dtype == np.float32
        np.testing.assert_allclose(found[utterance], expected, atol=2e-5)


def test_the_front_end_says_how_long_frames_last(
    make_data_dir, model_folder, model_values, tmp_path
):
    """One more convolution: 40 ms, of windows of 800 samples."""
    layers = model_values()["conv_layers"]
    model = model_folder(conv_layers=[*layers[:5], [16, 3, 2], *layers[5:]])
    data = make_data_dir(tmp_path / "data", 2, 5, units=False)
    extract_dir(model, tmp_path / "data", tmp_path / "f")
    assert (tmp_path / "f" / "frame_shift").read_text() == "0.04\n"
    for utterance, features in ArchiveReader(tmp_path / "f" / "feats.1.scp").items():
        assert len(features) == (data.n_samples[utterance] - 800) // 640 + 1
    data.n_samples[data.ids[0]] = 799
    data.write(tmp_path / "data")
    with pytest.raises(ValueError, match=r"shorter than one frame \(800 samples\)"):
        extract_dir(model, tmp_path / "data", tmp_path / "g")
    with pytest.raises(ValueError, match=r"shorter than one frame \(880 samples\)"):
        extract_dir(model_folder("fast_base"), tmp_path / "data", tmp_path / "h")


def test_batches_hold_utterances_of_similar_length():
    samples = {"a": 10, "b": 50, "c": 49, "d": 11, "e": 500}
    assert list(batches(samples, 100)) == [["e"], ["b", "c"], ["d", "a"]]


def test_a_finished_job_is_not_done_again(folder, chords, tmp_path, monkeypatch):
    calls = []
    original = module.extract
    monkeypatch.setattr(module, "extract", lambda *a: calls.append(1) or original(*a))
    arguments = (folder, chords / "dev", tmp_path / "f")
    extract_dir(*arguments)
    before = (tmp_path / "f" / "feats.1.ark").read_bytes()
    extract_dir(*arguments)
    assert len(calls) == 1
    extract_dir(*arguments, layer=2)
    assert len(calls) == 2 and (tmp_path / "f" / "feats.1.ark").read_bytes() != before

    def stopped(*_):
        yield "u", np.zeros((2, 3), np.float32)
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "extract", stopped)
    after = (tmp_path / "f" / "feats.1.ark").read_bytes()
    with pytest.raises(KeyboardInterrupt):
        extract_dir(*arguments)
    assert (tmp_path / "f" / "feats.1.ark").read_bytes() == after
    monkeypatch.setattr(module, "extract", original)
    extract_dir(*arguments)
    assert (tmp_path / "f" / "feats.1.ark").read_bytes() == before


def test_mistakes_are_explained(folder, chords, make_data_dir, tmp_path):
    for layer in ("4", "0", "first", -1):
        with pytest.raises(ValueError, match="layer.*a number from 1 to 3 expected"):
            extract_dir(folder, chords / "dev", tmp_path / "f", layer)
    data = make_data_dir(tmp_path / "data", 2, 5, units=False)
    data.n_samples[data.ids[0]] = 399
    data.write(tmp_path / "data")
    with pytest.raises(ValueError, match=f"1 utterances are shorter than one.*{data.ids[0]}"):
        extract_dir(folder, tmp_path / "data", tmp_path / "f")
    assert not (tmp_path / "f" / "feats.1.scp").exists()


def test_features_of_audio_that_has_changed_are_made_again(folder, make_data_dir, tmp_path):
    data = make_data_dir(tmp_path / "data", 3, 5, units=False)
    path, output = data.wav[data.ids[1]], tmp_path / "f"

    def features():
        extract_dir(folder, tmp_path / "data", output)
        return ArchiveReader(output / "feats.1.scp")[data.ids[1]]

    before = features()
    soundfile.write(path, read_audio(path)[::-1], 16000)
    assert not np.array_equal(features(), before)


def test_audio_that_cannot_be_used_is_named(folder, make_data_dir, tmp_path):
    data = make_data_dir(tmp_path / "data", 3, 5, units=False)
    wave = read_audio(data.wav[data.ids[1]])
    path = str(tmp_path / "other.wav")

    def refused(message):
        data.write(tmp_path / "data")
        with pytest.raises(ValueError, match=message):
            extract_dir(folder, tmp_path / "data", tmp_path / "f")

    data.n_samples[data.ids[0]] += 160
    refused(f"{data.ids[0]}: .*utt2num_samples says .*found {data.n_samples[data.ids[0]] - 160};")
    data.n_samples[data.ids[0]] -= 160
    data.wav[data.ids[1]] = path
    refused(f"of 1 utterances are not there: {data.ids[1]}, such as {path}")
    soundfile.write(path, wave, 8000)
    refused(f"{data.ids[1]}: {path}: 16000 Hz expected, found 8000 Hz; run format_data")
    soundfile.write(path, np.where(np.arange(len(wave)) == 9, np.nan, wave), 16000, "FLOAT")
    refused(f"{data.ids[1]}: {path}: some samples are not finite")
    with pytest.raises(ValueError, match="job: a number of at least 1 expected, got 0"):
        extract_dir(folder, tmp_path / "data", tmp_path / "f", job=0)
    assert not list((tmp_path / "f").glob("feats.*"))


def test_command_line(run_main, folder, chords, tmp_path):
    words = ["--model", folder, "--data_dir", chords / "dev", "--output", tmp_path / "f"]
    words += ["--layer", 2, "--job", 7]
    done = run_main("extract_features", *words)
    assert done.returncode == 0, done.stderr
    assert "features of 8 utterances" in done.stderr
    assert len(ArchiveReader(tmp_path / "f" / "feats.7.scp")) == 8
    if not torch.cuda.is_available():
        done = run_main("extract_features", *words, "--ngpu", 1)
        assert done.returncode == 1 and done.stderr.startswith(
            "error: --ngpu 1: torch finds no GPU"
        )


FRONTEND = {
    "frontend": "speechlm",
    "frontend_conf": {"layer": 2},
    "encoder": "transformer",
    "encoder_conf": {
        "output_size": 8,
        "attention_heads": 2,
        "linear_units": 16,
        "num_blocks": 1,
        "input_layer": "linear",
    },
}
ENCODER = {
    "input_size": 1,
    "frontend": None,
    "encoder": "speechlm_pretrained",
    "encoder_conf": {"time_mask_prob": 0.3, "time_mask_length": 2},
}
COMMON = {
    "token_list": ["<blank>", "<unk>", "A", "B", "<sos/eos>"],
    "token_type": "char",
    "normalize": None,
    "model_conf": {"ctc_weight": 1.0},
}


def espnet_model(values, folder, tmp_path, **more):
    """The model that ESPnet's own task builds from a YAML file."""
    importlib.import_module("speechlm.tasks.espnet_modules")  # makes ESPnet importable, so first
    from espnet2.tasks.asr import ASRTask

    part = "encoder" if values.get("input_size") else "frontend"
    conf = {f"{part}_conf": {"model": str(folder), **values[f"{part}_conf"]}}
    path = tmp_path / "asr.yaml"
    path.write_text(yaml.safe_dump({**COMMON, **values, **conf, **more}))
    args = ASRTask.get_parser().parse_args(["--config", str(path), "--output_dir", str(tmp_path)])
    return ASRTask.build_model(args), path


@pytest.mark.parametrize("values", [FRONTEND, ENCODER], ids=["frontend", "encoder"])
@pytest.mark.parametrize("init", [None, "xavier_uniform"])
def test_espnets_task_builds_it_from_yaml(values, init, any_folder, tmp_path):
    folder = any_folder
    model, _ = espnet_model(values, folder, tmp_path, init=init)
    ours = speechlm.SpeechLM.from_pretrained(folder, ignore_padding=True)
    torch.manual_seed(0)
    waveforms, lengths = torch.randn(2, 9000) * 0.1, torch.tensor([9000, 5000])
    module = model.eval().frontend or model.encoder
    features, frames = module(waveforms, lengths)[:2]
    if values is FRONTEND:
        expected = ours.extract_features(waveforms, lengths, "all")[0][1]
    else:
        expected = ours.extract_features(waveforms, lengths)[0]
    # of a fast model its frames of 40 ms, not the outputs of a CTC head that is not there
    assert frames.tolist() == ([13, 7] if ours.config.is_fast else [27, 15])
    torch.testing.assert_close(features.detach(), expected)
    names = [name for name, p in module.named_parameters() if p.requires_grad]
    assert not [n for n in names if "final_proj" in n or "ctc_head" in n or "unit_embed" in n]

    text, text_lengths = torch.tensor([[2, 3, 2], [3, 2, -1]]), torch.tensor([3, 2])
    loss = model.train()(waveforms, lengths, text, text_lengths)[0]
    loss.backward()
    # Layer drop may leave out some of the layers.
    inner = [p.grad for name, p in module.named_parameters() if name.endswith("fc1.weight")]
    assert loss.isfinite() and any(g is not None and g.abs().sum() > 0 for g in inner)


@pytest.mark.parametrize("values", [FRONTEND, ENCODER], ids=["frontend", "encoder"])
def test_espnet_trains_and_decodes_with_it(values, any_folder, chords, tmp_path):
    """One epoch of ESPnet's own task from YAML, the model frozen, then ESPnet's own inference."""
    part, folder = "encoder" if values is ENCODER else "frontend", any_folder
    letters = [*"ABCDEFGHIJKLMNOPQRSTUVWXYZ", "<space>"]
    tokens = ["<blank>", "<unk>", *letters, "<sos/eos>"]
    more = {
        "token_list": tokens,
        "freeze_param": [part],
        "max_epoch": 1,
        "num_iters_per_epoch": 2,
        "batch_type": "unsorted",
        "batch_size": 4,
        "num_workers": 0,
        "use_matplotlib": False,
        "use_tensorboard": False,
        "keep_nbest_models": 1,
        "optim": "adam",
    }
    _, path = espnet_model(values, folder, tmp_path, **more)
    from espnet2.bin.asr_inference import Speech2Text
    from espnet2.tasks.asr import ASRTask

    arguments = ["--config", str(path), "--output_dir", str(tmp_path / "exp")]
    for mode, name in (("train", "train"), ("valid", "dev")):
        option = f"--{mode}_data_path_and_name_and_type"
        for table in (
            f"{chords / name / 'wav.scp'},speech,sound",
            f"{chords / name / 'text'},text,text",
        ):
            arguments += [option, table]
        arguments += [f"--{mode}_shape_file", str(chords / name / "utt2num_samples")]
    ASRTask.main(cmd=arguments)
    recogniser = Speech2Text(
        tmp_path / "exp" / "config.yaml", tmp_path / "exp" / "latest.pth", beam_size=2
    )
    weights = getattr(recogniser.asr_model, part).speechlm.state_dict()
    original = speechlm.SpeechLM.from_pretrained(folder).state_dict()
    assert weights and all(torch.equal(w, original[name]) for name, w in weights.items())
    assert isinstance(recogniser(np.zeros(8000, np.float32))[0][0], str)


def test_espnets_modules_take_a_fine_tuning(folder, save_fine_tuning, tmp_path):
    from speechlm.tasks.espnet_modules import PretrainedSpeechLMEncoder, SpeechLMFrontend

    tuned = save_fine_tuning(folder, tmp_path / "asr")
    original = speechlm.SpeechLM.from_pretrained(folder).state_dict()
    for built in SpeechLMFrontend(str(tuned)), PretrainedSpeechLMEncoder(1, str(tuned)):
        weights = built.speechlm.state_dict()
        assert weights and all(torch.equal(w, original[name]) for name, w in weights.items())
        assert not [name for name in weights if "ctc_head" in name]


def test_encoder_needs_waveforms(folder):
    from speechlm.tasks.espnet_modules import PretrainedSpeechLMEncoder

    with pytest.raises(ValueError, match="input_size 1, not 80"):
        PretrainedSpeechLMEncoder(80, str(folder))


def test_options_of_the_modules_are_checked(folder):
    from speechlm.tasks.espnet_modules import SpeechLMFrontend

    for values, message in (
        ({"model": None}, "model: the folder of a trained model expected, got None"),
        ({"changes": 5}, "changes: `option: value` lines expected, got 5"),
        ({"changes": {"dropouts": 0.1}}, 'did you mean "dropout"'),
        ({"layer": 9}, "a number from 1 to 3 expected, got 9"),
    ):
        with pytest.raises(ValueError, match=message):
            SpeechLMFrontend(**{"model": str(folder), **values})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"model": "none"}, r"error: none/config.yaml expected"),
        (
            {"model": "none", "layers": 2},
            "frontend_conf of frontend: speechlm: got an unexpected "
            "keyword argument 'layers'; it takes: model, layer, changes",
        ),
        ({}, "frontend_conf of frontend: speechlm: missing 1 required .*'model'; it takes"),
    ],
)
def test_espnets_program_explains_wrong_options(values, message, tmp_path, monkeypatch):
    """The configuration is read, and what is wrong in it stops the program with one line."""
    from speechlm.bin import _cli, espnet

    (tmp_path / "a").write_text("u 1\n")
    path = tmp_path / "asr.yaml"
    path.write_text(yaml.safe_dump({**COMMON, **FRONTEND, "frontend_conf": values}))
    arguments = [
        "espnet",
        "asr_train",
        "--config",
        str(path),
        "--output_dir",
        str(tmp_path / "out"),
        "--dry_run",
        "true",
        *[
            x
            for m in ("train", "valid")
            for x in (
                f"--{m}_data_path_and_name_and_type",
                f"{tmp_path / 'a'},speech,sound",
                f"--{m}_shape_file",
                str(tmp_path / "a"),
            )
        ],
    ]
    monkeypatch.setattr(sys, "argv", arguments)
    with pytest.raises(SystemExit) as stopped:
        _cli.run(espnet.main)
    assert re.search(message, str(stopped.value))


def test_features_of_parts_of_recordings(folder, chords, join_recordings, tmp_path):
    join_recordings(chords / "dev", tmp_path / "joined")
    for number, place in enumerate((chords / "dev", tmp_path / "joined")):
        extract_dir(folder, place, tmp_path / str(number))
    whole, parts = (ArchiveReader(tmp_path / n / "feats.1.scp") for n in "01")
    assert list(whole) == list(parts)
    assert all(np.array_equal(whole[utterance], parts[utterance]) for utterance in whole)
    # other parts of the same recordings are other utterances: nothing of before is kept
    data = DataDir.read(tmp_path / "joined")
    first, second = data.ids[:2]
    data.segments[first], data.segments[second] = data.segments[second], data.segments[first]
    data.wav[first], data.wav[second] = data.wav[second], data.wav[first]
    data.n_samples[first], data.n_samples[second] = data.n_samples[second], data.n_samples[first]
    data.write(tmp_path / "joined")
    extract_dir(folder, tmp_path / "joined", tmp_path / "1")
    again = ArchiveReader(tmp_path / "1" / "feats.1.scp")
    assert np.allclose(again[first], whole[second], atol=2e-5)
