"""CTC fine-tuning from a pre-trained model and from scratch, and greedy decoding of the result."""

import argparse
import shutil

import numpy as np
import pytest
import torch
import yaml

import speechlm
from speechlm.checkpoints.authors_export import export_checkpoint
from speechlm.checkpoints.authors_import import import_checkpoint
from speechlm.checkpoints.load_ctc import load_model
from speechlm.checkpoints.model_dir import load_speechlm
from speechlm.checkpoints.trainer_files import load_weights_only
from speechlm.conventions import PAD, PAPER_FRAMING
from speechlm.data.archives import merge_archives
from speechlm.data.kaldi_dir import DataDir
from speechlm.data.report import Report
from speechlm.data.vocabulary import CharacterVocabulary
from speechlm.decode.ctc_greedy import collapse, greedy
from speechlm.decode.decode_set import decode_set
from speechlm.decode.hypotheses import SearchReport, merge_hypotheses
from speechlm.decode.write_emissions import emissions_of, write_emissions
from speechlm.models import SpeechLMConfig
from speechlm.models.losses import ctc_loss
from speechlm.score.error_rate import error_rates
from speechlm.tasks.asr import SpeechLMASRTask
from speechlm.tasks.ctc_model import greedy_errors, registering_rates
from speechlm.tasks.run_asr import finetune_asr
from speechlm.tasks.run_pretrain import pretrain


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory, config_values, data_options):
    folder = tmp_path_factory.mktemp("pretrained")
    config = config_values(folder, "pretrain", max_epoch=1)
    return pretrain(folder / "exp", config, data_options)


@pytest.fixture(scope="module")
def finetuned(tmp_path_factory, config_values, chords, pretrained):
    folder = tmp_path_factory.mktemp("finetuned")
    config = config_values(folder, "finetune")
    options = {"seed": 3}
    return finetune_asr(
        folder / "exp", config, chords / "train", chords / "dev", pretrained, options
    )


def test_it_starts_from_all_pretrained_weights(pretrained, finetuned):
    model, _ = load_speechlm(pretrained)
    initial = load_weights_only(finetuned / "init.pth")
    final = load_weights_only(finetuned / "latest.pth")
    head = model.unit_encoder_ctc_head.output_layer
    assert torch.equal(initial["ctc.ctc_lo.weight"], head.weight)
    assert initial.keys() == final.keys()
    frozen = "encoder.speechlm.feature_extractor.conv_layers.1.0.weight"
    assert torch.equal(initial[frozen], final[frozen])
    assert not torch.equal(initial["ctc.ctc_lo.weight"], final["ctc.ctc_lo.weight"])


def test_the_public_interface_opens_a_pretraining(pretrained):
    opened = speechlm.SpeechLM.from_pretrained(pretrained)
    model, units = load_speechlm(pretrained)
    waveforms, lengths = torch.randn(2, 8000), torch.tensor([8000, 5000])
    features, frames = opened.extract_features(waveforms, lengths)
    assert torch.equal(features, model.extract_features(waveforms, lengths)[0])
    assert features.shape == (2, 24, 32) and frames.tolist() == [24, 15]
    assert units.n_ids == 369
    values = yaml.safe_load((pretrained / "config.yaml").read_text())
    assert values["max_epoch"] == 1 and values["speechlm"] == model.config.to_dict()


def test_it_starts_from_a_model_without_ctc_head(pretrained, config, chords, tmp_path):
    export_checkpoint(pretrained, tmp_path / "clean.pt")
    import_checkpoint(tmp_path / "clean.pt", tmp_path / "clean")
    by_words = [["valid", "wer_ctc", "min"]]
    path = config("finetune", max_epoch=1, num_iters_per_epoch=1, best_model_criterion=by_words)
    folder = finetune_asr(
        tmp_path / "exp", path, chords / "train", chords / "dev", tmp_path / "clean", {"seed": 3}
    )
    assert not (folder / "valid.cer_ctc.ave.pth").exists() and load_model(folder)
    initial = load_weights_only(folder / "init.pth")
    own = load_speechlm(pretrained)[0].state_dict()
    assert torch.equal(initial["encoder.speechlm.mask_emb"], own["mask_emb"])
    head = own["unit_encoder_ctc_head.5.weight"]
    assert initial["ctc.ctc_lo.weight"].shape == head.shape
    assert not torch.equal(initial["ctc.ctc_lo.weight"], head)


def test_training_goes_on_as_it_was_begun(finetuned, pretrained, config, chords, capsys):
    dirs = chords / "train", chords / "dev"
    again = finetune_asr(finetuned, config("finetune"), *dirs, pretrained, {"seed": 3})
    log = capsys.readouterr().err
    assert again == finetuned and "goes on with another value" not in log
    with pytest.raises(
        ValueError, match=r"encoder_conf\.speechlm\.feature_grad_mult: 0.0, now 1.0"
    ):
        finetune_asr(finetuned, config("finetune"), *dirs, None, {"seed": 3})


def test_loss_falls(finetuned):
    stats = load_weights_only(finetuned / "checkpoint.pth")["reporter"]["stats"]
    assert stats[2]["train"]["loss"] < stats[1]["train"]["loss"]


def test_from_scratch_the_front_end_learns(tmp_path, config, chords):
    sizes = SpeechLMConfig.tiny(embed_dim=32, ffn_dim=64, speech_layers=1, shared_layers=1)
    conf = {"speechlm": {**sizes.to_dict(), "feature_grad_mult": 0.0}}
    path = config("finetune", encoder_conf=conf, max_epoch=1, num_iters_per_epoch=1)
    folder = finetune_asr(tmp_path / "e", path, chords / "train", chords / "dev", None, {})
    values = yaml.safe_load((folder / "config.yaml").read_text())
    assert values["encoder_conf"]["speechlm"]["feature_grad_mult"] == 1.0
    first = (sizes.conv_layers[0][0], 1, 10)
    moments = load_weights_only(folder / "checkpoint.pth")["optimizers"][0]["state"]
    assert any(m["exp_avg"].shape == first and m["exp_avg"].any() for m in moments.values())


def test_validation_counts_the_words_that_decoding_writes(finetuned, chords):
    """Of all batches together; the last weights decode what the last validation has counted."""
    data = DataDir.read(chords / "dev")
    model = load_model(finetuned, "latest.pth")
    text = {u: greedy(x) for u, x in emissions_of(model, data, 3_200_000)}
    rates = error_rates(data.text, text)
    stats = load_weights_only(finetuned / "checkpoint.pth")["reporter"]["stats"][2]["valid"]
    assert stats["wer_ctc"] == pytest.approx(rates.words.rate / 100)
    assert stats["cer_ctc"] == pytest.approx(rates.characters.rate / 100)
    assert not {"words", "word_errors"} & stats.keys()


def test_greedy_errors_end_with_the_frames_and_the_words():
    vocabulary = CharacterVocabulary()
    texts = [vocabulary.encode(words) for words in ("A CAT SAT", "NO")]
    written = [vocabulary.encode(words) for words in ("A CAP SAT", "NO NO")]
    paths = torch.zeros(2, 12, dtype=torch.int64)
    for row, ids in enumerate(written):
        paths[row, : len(ids)] = torch.from_numpy(ids)
    frames = torch.tensor([12, 3])  # of the second: N O |, the rest is padding
    text = torch.full((2, 10), -1)
    for row, ids in enumerate(texts):
        text[row, : len(ids)] = torch.from_numpy(ids)
    lengths = torch.tensor([len(ids) for ids in texts])
    found = greedy_errors(paths, frames, text, lengths)
    counts = {"word_errors": 1, "words": 4, "character_errors": 1, "characters": 9 + 2}
    assert found == {name: count / 2 for name, count in counts.items()}


def test_a_rate_is_a_quotient_of_sums():
    """Not the mean of the batches' rates, weighted by their sentences."""
    from espnet2.train.reporter import Reporter

    reporter = Reporter()
    reporter.set_epoch(1)
    with reporter.observe("valid") as part:
        register = registering_rates(part.register)
        for sentences, errors, words in ((4, 3, 10), (1, 8, 8)):
            counts = {"word_errors": errors / sentences, "words": words / sentences}
            register({"loss": 1.0 * sentences, **counts}, sentences)
            part.next()
    assert reporter.get_value("valid", "wer_ctc") == pytest.approx(11 / 18)
    assert reporter.get_value("valid", "loss") == pytest.approx((4 * 4 + 1) / 5)


def test_the_loss_is_a_sum_over_sentences(finetuned):
    args = argparse.Namespace(**yaml.safe_load((finetuned / "config.yaml").read_text()))
    model = SpeechLMASRTask.build_model(args).eval()
    waves, samples = torch.randn(3, 9000), torch.tensor([9000, 9000, 9000])
    text = torch.tensor([[4, 5, 6, 6], [7, 8, 4, -1], [9, -1, -1, -1]])
    loss, _, weight = model(waves, samples, text, torch.tensor([4, 3, 1]))
    hidden, frames = model.encode(waves, samples)
    targets = text.masked_fill(text < 0, PAD)
    assert weight == 3
    total = ctc_loss(model.ctc.ctc_lo(hidden), frames, targets)
    assert loss.item() * 3 == pytest.approx(total.item(), rel=1e-5)


def test_results_do_not_depend_on_the_batch(finetuned, chords):
    model = load_model(finetuned)
    with torch.no_grad():  # without this little training hypotheses would be empty
        model.output.bias[0] -= 3.0
    data = DataDir.read(chords / "dev")
    alone = dict(emissions_of(model, data, batch_samples=1))
    together = dict(emissions_of(model, data, batch_samples=10_000_000))
    assert alone.keys() == together.keys() == set(data.ids)
    for utterance in data.ids:
        assert np.allclose(alone[utterance], together[utterance], atol=1e-4)
    assert len({x.argmax(-1).tobytes() for x in alone.values()}) > 1


def test_jobs_merge_to_the_whole(finetuned, chords, tmp_path):
    data, model = DataDir.read(chords / "dev"), load_model(finetuned)
    for job, ids in enumerate((data.ids[1::2], data.ids[::2]), 1):
        part = data.subset(ids)
        part.write(tmp_path / "split" / str(job))
        write_emissions(model, part, tmp_path / "emissions", source="m", job=job)
    assert merge_archives(tmp_path / "emissions", 2, "emissions") == len(data)
    for job in "12":
        part = DataDir.read(tmp_path / "split" / job)
        report = SearchReport("greedy")
        decode_set(tmp_path / "emissions", part, tmp_path / "out" / job, report)
    folders = [str(tmp_path / "out" / job) for job in "12"]
    assert merge_hypotheses(folders, tmp_path / "all") == len(data)
    lines = (tmp_path / "all" / "text").read_text().splitlines()
    assert [line.split()[0] for line in lines] == data.ids
    report = SearchReport.read(tmp_path / "all")
    assert report.utterances == len(data) and report.real_time_factor > 0
    with pytest.raises(ValueError, match="another job has too"):
        merge_hypotheses([folders[0], folders[0]], tmp_path / "twice")


def test_espnets_own_inference_loads_the_model(finetuned):
    from espnet2.tasks.asr import ASRTask

    model, _ = ASRTask.build_model_from_file(
        finetuned / "config.yaml", finetuned / "valid.cer_ctc.ave.pth"
    )
    ours = load_model(finetuned)
    waveform = torch.tensor(np.random.default_rng(0).normal(0, 0.1, (1, 9000))).float()
    lengths = torch.tensor([9000])
    with torch.no_grad():
        hidden, frames = model.eval().encode(waveform, lengths)
        theirs = model.ctc.ctc_lo(hidden)
    assert torch.allclose(theirs, ours(waveform, lengths)[0], atol=1e-4)
    assert frames.tolist() == [27]


def test_a_fast_model_is_fine_tuned_on_two_outputs_a_frame(model_folder, config, chords, tmp_path):
    """Trained, left out, validated and opened by the CTC outputs, not by frames of 40 ms."""
    framing = SpeechLMConfig.fast_tiny().ctc_framing
    for part in ("train", "dev"):
        data = DataDir.read(chords / part)
        data = data.subset(data.ids[:6])
        # a transcript with a letter for each frame of the paper's, of which there is one more
        wrong, n = next(
            (u, n) for u, n in data.n_samples.items() if framing.frames(n) < PAPER_FRAMING.frames(n)
        )
        letters = PAPER_FRAMING.frames(n)
        data.text[wrong] = ("AB" * letters)[: letters - 1]
        data.write(tmp_path / part)
    conf = {"time_mask_prob": 0.2, "time_mask_length": 2, "speechlm": {"dropout": 0.1}}
    path = config(
        "finetune", config_size="fast_tiny", encoder_conf=conf, max_epoch=1, num_iters_per_epoch=1
    )
    dirs = tmp_path / "train", tmp_path / "dev"
    init = model_folder("fast_tiny")
    with pytest.raises(ValueError, match="tiny .* is for .* paper, but .* fast"):
        finetune_asr(tmp_path / "no", path, *dirs, init, {"config_size": "tiny"})
    exp = finetune_asr(tmp_path / "e", path, *dirs, init, {})
    (item,) = Report.read(exp / "left_out.valid.tsv").items
    assert item.utterance == wrong
    assert item.detail == f"{framing.frames(n)} frames, {letters} needed"
    values = yaml.safe_load((exp / "config.yaml").read_text())
    assert values["encoder_conf"]["speechlm"]["architecture"] == "fast"
    for utterance, emissions in emissions_of(load_model(exp), data, 100_000):
        assert len(emissions) == framing.frames(data.samples()[utterance])
    espnet = SpeechLMASRTask.build_model(argparse.Namespace(**values)).eval()
    hidden, outputs = espnet.encode(torch.randn(2, 9000), torch.tensor([9000, 5000]))
    assert outputs.tolist() == [26, 14] and hidden.shape == (2, 26, 32)


def test_configurations_for_the_other_architecture_are_explained(
    model_folder, config, chords, tmp_path
):
    """A message that names the option, before anything is written into the folder."""
    dirs = chords / "train", chords / "dev"
    path = config("finetune")  # its encoder_conf.speechlm: feature_grad_mult 0, front end frozen
    with pytest.raises(ValueError, match=r"^feature_grad_mult: .*encoder_conf\.speechlm") as error:
        finetune_asr(tmp_path / "e", path, *dirs, model_folder("fast_tiny"), {})
    assert "\n" not in str(error.value)
    path = config("finetune", encoder_conf={"speechlm": {"unit_dim": 16}})
    with pytest.raises(ValueError, match=r"^encoder_conf\.speechlm: unit_dim: .*fast_tiny is of"):
        finetune_asr(tmp_path / "e", path, *dirs, None, {"config_size": "fast_tiny"})
    assert not (tmp_path / "e" / "config.yaml").exists()


def test_collapse():
    path = np.array([0, 5, 5, 0, 5, 6, 6, 0, 0])
    assert collapse(path, 0).tolist() == [5, 5, 6]


def test_links_to_nothing_are_told_and_not_passed_over(finetuned, tmp_path):
    """Weights of the last update in place of the best would be worse in silence."""
    shutil.copytree(finetuned, tmp_path / "exp", symlinks=True)
    best = tmp_path / "exp" / "valid.cer_ctc.ave.pth"
    best.unlink()
    best.symlink_to("gone.pth")
    with pytest.raises(ValueError, match=r"ave\.pth is a link to gone\.pth"):
        load_model(tmp_path / "exp")
    values = yaml.safe_load((finetuned / "config.yaml").read_text())
    for conf in (None, "x", {"speechlm": [1]}):
        written = yaml.safe_dump({**values, "encoder_conf": conf})
        (tmp_path / "exp" / "config.yaml").write_text(written)
        with pytest.raises(ValueError, match=r"values expected in encoder_conf\.speechlm"):
            load_model(tmp_path / "exp")


def test_a_folder_without_a_model_is_explained(tmp_path):
    with pytest.raises(ValueError, match="config.yaml expected"):
        load_model(tmp_path)
    with pytest.raises(ValueError, match="config.yaml expected"):
        load_speechlm(tmp_path)


def test_transcripts_that_do_not_fit_are_left_out_and_named(tmp_path, config, chords, caplog):
    """In training and in validation; the loss is that of the others alone."""
    for part in ("train", "dev"):
        data = DataDir.read(chords / part).subset(DataDir.read(chords / part).ids[:5])
        data.text = {**data.text, data.ids[0]: "TOO LONG " * 60}
        data.write(tmp_path / "wrong" / part)
        data.subset(data.ids[1:]).write(tmp_path / "sound" / part)
    wrong = DataDir.read(tmp_path / "wrong" / "train").ids[0]
    options = {"max_epoch": 1, "num_iters_per_epoch": 1, "batch_bins": 10_000_000}
    path, stats = config("finetune", **options), []
    for name in ("wrong", "sound"):  # the first one's log alone: ESPnet takes the handler away
        folder = tmp_path / name
        exp = finetune_asr(folder / "exp", path, folder / "train", folder / "dev", None, {})
        stats.append(load_weights_only(exp / "checkpoint.pth")["reporter"]["stats"][1])
    for part in ("train", "valid"):
        assert stats[0][part]["loss"] == stats[1][part]["loss"] > 0
    frames = PAPER_FRAMING.frames(DataDir.read(tmp_path / "wrong" / "train").samples()[wrong])
    (item,) = Report.read(tmp_path / "wrong" / "exp" / "left_out.train.tsv").items
    assert (item.kind, item.utterance) == ("transcript too long for its audio", wrong)
    assert item.detail == f"{frames} frames, 600 needed"
    assert "4 utterances used, 1 left out" in caplog.text
    assert f"{wrong} ({frames} frames, 600" in caplog.text
    assert Report.read(exp / "left_out.train.tsv").items == []


def test_no_transcript_that_fits_stops_before_the_training(tmp_path, config, chords):
    data = DataDir.read(chords / "train").subset(DataDir.read(chords / "train").ids[:2])
    data.text = dict.fromkeys(data.ids, "TOO LONG " * 60)
    data.write(tmp_path / "train")
    with pytest.raises(ValueError, match="no utterance is left. left out: 2 transcript too long"):
        finetune_asr(
            tmp_path / "e", config("finetune"), tmp_path / "train", chords / "dev", None, {}
        )


def test_training_on_parts_of_recordings(config, chords, join_recordings, tmp_path):
    """To the last bit what training on files gives: ESPnet's data sets read ranges, too."""
    for name in ("train", "dev"):
        join_recordings(chords / name, tmp_path / name)
    path = config("finetune", max_epoch=1, num_iters_per_epoch=1)
    weights = []
    for number, place in enumerate((chords, tmp_path)):
        folder = tmp_path / str(number)
        finetune_asr(folder, path, place / "train", place / "dev", None, {"seed": 3})
        weights.append(load_weights_only(folder / "latest.pth"))
    assert all(torch.equal(weights[1][name], value) for name, value in weights[0].items())


def test_decoding_of_parts_of_recordings(finetuned, chords, join_recordings, tmp_path):
    model = load_model(finetuned)
    with torch.no_grad():
        model.output.bias[0] -= 3.0
    joined = join_recordings(chords / "dev", tmp_path / "joined")
    whole, ranges = (
        {u: x.tobytes() for u, x in emissions_of(model, data, 1)}
        for data in (DataDir.read(chords / "dev"), joined)
    )
    assert ranges == whole and len(set(whole.values())) > 1
