"""Flat start, adaptation and alignment on synthetic speech with known boundaries."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from speechlm.data.archives import ArchiveReader, merge_archives
from speechlm.data.audio import read_audio
from speechlm.data.kaldi_dir import DataDir
from speechlm.data.unit_index import check_units
from speechlm.data.vocabulary import phone_id
from speechlm.recognizer.adaptation import adapt_data, states_of_decoding, states_of_transcripts
from speechlm.recognizer.contexts import N_BASE
from speechlm.recognizer.decoding import SearchConfig, WordDecoder, by_network, decode_data
from speechlm.recognizer.features import mfcc, n_frames
from speechlm.recognizer.gmm_training import load_corpus, train_gmm
from speechlm.recognizer.labelling import align_data
from speechlm.recognizer.network import Network
from speechlm.recognizer.network_data import ClassTable, make_network_data
from speechlm.recognizer.speakers import adaptation_utterances, load_speakers
from speechlm.recognizer.topology import NOISE_ID, SILENCE_ID, UNKNOWN
from speechlm.recognizer.utterance_graph import read_pronunciations
from speechlm.tokenizers.phoneme_speech import PhonemeSpeechTokenizer

SPEC = importlib.util.spec_from_file_location("bands", Path(__file__).with_name("bands.py"))
bands = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(bands)

LEXICON, CONFIG = bands.LEXICON, bands.CONFIG


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return bands.train(tmp_path_factory.mktemp("synthetic"))


def test_flat_start_finds_the_boundaries(trained, tmp_path):
    folder, data, spans, model, pronunciations, _ = trained
    align_data(data, model, load_speakers(folder / "speakers"), pronunciations, tmp_path)
    assert bands.frames_right(ArchiveReader(tmp_path / "units.1.scp"), spans) > 0.9


def test_labels_do_not_depend_on_the_number_of_jobs(trained, tmp_path, parts_of):
    folder, data, _, model, pronunciations, lexicon = trained
    for n in (1, 3):
        states_of = states_of_transcripts(data, model, lexicon)
        speakers, output = tmp_path / f"speakers{n}", tmp_path / f"units{n}"
        output.mkdir()
        for job in range(1, n + 1):
            adapt_data(data, model, states_of, speakers, job=job, n_jobs=n)
        for job, part in enumerate(parts_of(data, n), 1):
            align_data(part, model, load_speakers(speakers), pronunciations, output, job=job)
        merge_archives(output, n)
        data.write(output / "data")
        assert check_units(output, output / "data") == {}
    one, three = (ArchiveReader(tmp_path / f"units{n}" / "units.scp") for n in (1, 3))
    assert sorted(one) == sorted(three) == data.ids
    assert all(np.array_equal(one[u], three[u]) for u in data.ids)


def test_speakers_of_an_earlier_run_with_more_jobs_go(trained, tmp_path):
    _, data, _, model, _, lexicon = trained
    states_of = states_of_transcripts(data, model, lexicon)
    for n in (5, 1):  # more jobs than speakers, too
        for job in range(1, n + 1):
            adapt_data(data, model, states_of, tmp_path, job=job, n_jobs=n, max_seconds=5)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["speakers.1.npz"]
    assert sorted(load_speakers(tmp_path)) == ["s0", "s1"]
    with pytest.raises(ValueError, match="--job from 1 to 2"):
        adapt_data(data, model, states_of, tmp_path, job=3, n_jobs=2)


def test_failures_are_listed_and_the_rest_goes_on(trained, tmp_path):
    folder, data, _, model, pronunciations, _ = trained
    bad = DataDir(dict(data.wav), data.utt2spk, dict(data.text), data.n_samples)
    bad.text["s0-00"] = "SEE ZEBRA"
    bad.text["s0-02"] = "SEE " * 100
    (tmp_path / "broken.flac").write_bytes(b"no audio")
    bad.wav["s1-01"] = str(tmp_path / "broken.flac")
    outcome = align_data(
        bad, model, load_speakers(folder / "speakers"), pronunciations, tmp_path / "units"
    )
    assert sorted(outcome.failed) == ["s0-02", "s1-01"]
    listed = (tmp_path / "units" / "failed.1").read_text().splitlines()
    assert listed[0].startswith("s0-02") and "too few" in listed[0]
    assert outcome.utterances == 38
    assert (tmp_path / "units" / "unknown.1").read_text() == "ZEBRA 1\n"


def test_unknown_speaker_is_an_error(trained, tmp_path):
    folder, data, _, model, pronunciations, _ = trained
    speakers = load_speakers(folder / "speakers")
    del speakers["s1"]
    with pytest.raises(ValueError, match="no adaptation for 1 speakers, e.g. s1"):
        align_data(data, model, speakers, pronunciations, tmp_path)


def test_models_survive_saving(trained, tmp_path):
    _, _, _, model, _, _ = trained
    model.save(tmp_path / "gmm")
    same = type(model).load(tmp_path / "gmm")
    rng = np.random.default_rng(0)
    cepstra = rng.normal(size=(50, 20)).astype(np.float32)
    frames, same_frames = model.project(cepstra), same.project(cepstra)
    assert frames.gaussian.shape == (50, 39) and frames.network.shape == (50, 40)
    assert all(np.array_equal(a, b) for a, b in zip(frames, same_frames, strict=True))
    assert np.allclose(same.scores(frames), model.scores(frames), rtol=1e-4)
    assert np.allclose(same.network.prior.quadratic, model.network.prior.quadratic)
    with pytest.raises(ValueError, match="train_gmm"):
        type(model).load(tmp_path)


def test_network_data_at_two_speeds(trained, tmp_path):
    folder, data, _, model, pronunciations, _ = trained
    speakers = load_speakers(folder / "speakers")
    for speed in (1.0, 0.9):
        output = tmp_path / f"sp{speed}"
        align_data(data, model, speakers, pronunciations, output, speed=speed, with_features=True)
        for name in ("units", "feats", "states"):
            merge_archives(output, 1, name)
    folders = [tmp_path / "sp1.0", tmp_path / "sp0.9"]
    made = make_network_data(folders, tmp_path / "net", max_classes=50, min_count=30)
    assert N_BASE <= made.n_classes <= 50
    loaded = ClassTable.load(tmp_path / "net" / "classes.npz")
    assert np.array_equal(loaded.table, made.table)
    assert np.exp(made.class_prior).sum() == pytest.approx(1.0)
    train = ArchiveReader(tmp_path / "net" / "train" / "feats.scp")
    valid = ArchiveReader(tmp_path / "net" / "valid" / "feats.scp")
    assert len(valid) == 2 and len(train) == 76
    classes = ArchiveReader(tmp_path / "net" / "train" / "classes.scp")
    for utterance in train:
        assert len(classes[utterance]) == len(train[utterance])
    with pytest.raises(ValueError, match="is in"):
        make_network_data([folders[0], folders[0]], tmp_path / "twice")


def test_slower_copies_are_longer():
    samples = np.random.default_rng(0).normal(size=16000).astype(np.float32)
    assert len(mfcc(samples)) == n_frames(16000) == 98
    assert len(mfcc(samples, 0.8)) == n_frames(20000)
    assert mfcc(samples[:399]).shape == (0, 20)


def test_windows_are_centred_on_their_cells():
    samples = np.zeros(16000, dtype=np.float32)
    samples[160 * 50 + 240] = 0.5  # the middle of cell 51: that of label 50
    energy = mfcc(samples)[:, 0]
    assert energy.argmax() == 50
    assert energy[49] == pytest.approx(energy[51], rel=0.01)  # the windows are symmetric about it


def test_adaptation_audio_is_spread_over_the_speaker():
    ids = [f"a-{n:03d}" for n in range(100)]
    data = DataDir(
        dict.fromkeys(ids, "x.flac"), dict.fromkeys(ids, "a"), None, dict.fromkeys(ids, 160000)
    )
    assert adaptation_utterances(data, ids, 5000) == ids
    chosen = adaptation_utterances(data, ids, 100)
    assert len(chosen) == 10 and chosen[0] == ids[0] and chosen[-1] == ids[-1]


@pytest.fixture(scope="module")
def with_unknown(tmp_path_factory):
    """Trained without a pronunciation of AM, a tenth of the words."""
    folder = tmp_path_factory.mktemp("unknown")
    data, spans = bands.make_corpus(folder, np.random.default_rng(1), (0.1, 0.3, 0.3, 0.3))
    lexicon = folder / "lexicon.txt"
    known = {word: phones for word, phones in LEXICON.items() if word != "AM"}
    lexicon.write_text("".join(f"{w} {' '.join(p)}\n" for w, p in known.items()))
    corpus, pronunciations = load_corpus(data, 1.0), read_pronunciations(lexicon)
    model = train_gmm(corpus, pronunciations, CONFIG)
    adapt_data(data, model, states_of_transcripts(data, model, lexicon), folder / "speakers")
    return folder, data, spans, model, pronunciations


def test_words_without_pronunciation_become_noise(with_unknown, tmp_path):
    folder, data, spans, model, pronunciations = with_unknown
    speakers = load_speakers(folder / "speakers")
    outcome = align_data(data, model, speakers, pronunciations, tmp_path, with_features=True)
    n_unknown = sum(text.split().count("AM") for text in data.text.values())
    assert outcome.utterances == len(data) and outcome.unknown == {"AM": n_unknown}
    assert (tmp_path / "unknown.1").read_text() == f"AM {n_unknown}\n"
    units = ArchiveReader(tmp_path / "units.1.scp")
    assert outcome.noise == sum(int((units[u] == NOISE_ID).sum()) for u in units)
    shares = {True: [], False: []}
    for utterance, marks in spans.items():
        centres = np.arange(len(units[utterance])) * 0.01 + 0.0125
        for n, word in enumerate(data.text[utterance].split()):
            start, end = marks[1 + 2 * n][1], marks[2 + 2 * n][2]  # two phones a word
            inside = (centres >= start) & (centres < end)
            shares[word == "AM"].append((units[utterance][inside] == NOISE_ID).mean())
    assert np.mean(shares[True]) > 0.8 and np.mean(shares[False]) < 0.02
    for name in ("units", "feats", "states"):
        merge_archives(tmp_path, 1, name)
    classes = make_network_data([tmp_path], tmp_path / "net", max_classes=50, min_count=30)
    assert classes.noise_frames == outcome.noise and classes.knows_noise
    assert ClassTable.load(tmp_path / "net" / "classes.npz").knows_noise


def test_speech_without_unknown_words_has_no_noise(trained, tmp_path):
    folder, data, _, model, pronunciations, _ = trained
    speakers = load_speakers(folder / "speakers")
    outcome = align_data(data, model, speakers, pronunciations, tmp_path)
    assert outcome.noise == 0 and not outcome.unknown
    assert (tmp_path / "unknown.1").read_text() == ""
    # what is never seen stays as broad as all frames together, and moves no boundary
    alone = {word: phones for word, phones in pronunciations.items() if word != UNKNOWN}
    assert len(alone) == len(pronunciations) - 1
    align_data(data, model, speakers, alone, tmp_path / "alone")
    ours, theirs = (ArchiveReader(f / "units.1.scp") for f in (tmp_path, tmp_path / "alone"))
    assert all(np.array_equal(ours[u], theirs[u]) for u in data.ids)
    noise = model.speaker_independent.variances[:, model.hmm.pdfs(NOISE_ID)].max(0)
    others = model.speaker_independent.variances[:, model.hmm.pdfs(phone_id["S_B"])].max(0)
    assert noise.mean() > others.mean()


def test_a_lexicon_of_other_words_is_refused(trained):
    folder, data, *_ = trained
    (folder / "other.txt").write_text("SEE S IY1\nDOG D AO1 G\n")
    with pytest.raises(ValueError, match="words of the transcripts are not in the lexicon .*AM"):
        train_gmm(load_corpus(data, 1.0), read_pronunciations(folder / "other.txt"), CONFIG)


def test_silence_is_label_one():
    assert SILENCE_ID == 1


def test_units_without_transcripts(trained, tmp_path, parts_of):
    """Labels of every frame, in any number of jobs and from the tokenizer alike."""
    folder, data, _, model, pronunciations, lexicon = trained
    bands.decoder_of(folder, data, model, pronunciations)
    unknown = DataDir(data.wav, data.utt2spk, None, data.n_samples)
    network, graph = Network.load(folder / "network"), folder / "graph"
    states_of = states_of_decoding(model, graph, folder / "network", lexicon)
    speakers = adapt_data(unknown, model, states_of, tmp_path / "speakers", max_seconds=10)
    decoder = WordDecoder(graph, SearchConfig())
    for n in (1, 2):
        for job, part in enumerate(parts_of(unknown, n), 1):
            decode_data(
                part,
                model,
                by_network(network),
                decoder,
                speakers,
                pronunciations,
                tmp_path / f"units{n}",
                job=job,
            )
        merge_archives(tmp_path / f"units{n}", n)
        data.write(tmp_path / f"data{n}")
        assert check_units(tmp_path / f"units{n}", tmp_path / f"data{n}") == {}
    one, two = (ArchiveReader(tmp_path / f"units{n}" / "units.scp") for n in (1, 2))
    assert all(np.array_equal(one[u], two[u]) for u in data.ids)
    model.save(tmp_path / "gmm")
    tokenizer = PhonemeSpeechTokenizer.load(tmp_path / "gmm", folder / "network", graph, lexicon)
    members = [u for u in data.ids if data.utt2spk[u] == "s0"]
    audio = [read_audio(data.wav[u]) for u in adaptation_utterances(data, members, 10)]
    speaker = tokenizer.adapt(audio)
    assert np.allclose(speaker.transforms.network, speakers["s0"].transforms.network, atol=1e-3)
    labels, words = tokenizer(read_audio(data.wav["s0-00"]), speaker)
    assert np.mean(labels == one["s0-00"]) > 0.98 and set(words) <= set(LEXICON)
    labels, _ = tokenizer(audio[0], tokenizer.unadapted(audio[0]))
    assert len(labels) == n_frames(len(audio[0]))


@pytest.mark.parametrize("speed", [1.0, 0.9])
def test_parts_of_recordings_are_aligned_as_files(trained, join_recordings, tmp_path, speed):
    folder, data, _, model, pronunciations, lexicon = trained
    data.write(tmp_path / "whole")
    joined = join_recordings(tmp_path / "whole", tmp_path / "joined")
    whole = load_corpus(data, 1.0)
    for one, other in zip(whole.cepstra, load_corpus(joined, 1.0).cepstra, strict=True):
        np.testing.assert_array_equal(one, other)
    units = []
    for name, source in (("1", data), ("2", joined)):
        states_of = states_of_transcripts(source, model, lexicon)
        adapt_data(source, model, states_of, tmp_path / f"speakers{name}", speed=speed)
        speakers, output = load_speakers(tmp_path / f"speakers{name}"), tmp_path / f"units{name}"
        output.mkdir()
        align_data(source, model, speakers, pronunciations, output, speed=speed)
        units.append(dict(ArchiveReader(output / "units.1.scp")))
    assert len(units[0]) == len(data) and units[0].keys() == units[1].keys()
    assert all(np.array_equal(units[1][u], labels) for u, labels in units[0].items())
