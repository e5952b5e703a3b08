"""Phone predictions of a SpeechLM as scores of the recogniser's graph."""

import json

import numpy as np
import pytest
import torch

from speechlm.checkpoints.model_dir import save_speechlm
from speechlm.data.archives import ArchiveWriter, merge_archives, write_unit_info
from speechlm.data.vocabulary import N_SPECIALS, PHONES, UnitVocabulary, phone_id
from speechlm.decode.phone_scores import SPOKEN, PhoneCounts, PhonePredictor, PhoneScores, spread
from speechlm.lm.ngram import train as train_ngram
from speechlm.models import SpeechLM, SpeechLMConfig
from speechlm.models.outputs import SpeechDraws
from speechlm.recognizer.contexts import N_BASE, N_PHONES, left_bases
from speechlm.recognizer.decoding import SearchConfig, WordDecoder
from speechlm.recognizer.network_data import ClassTable
from speechlm.recognizer.search_graph import make_graph
from speechlm.recognizer.topology import BASE_OF_PHONE, N_PDFS, SILENCE_ID, positioned

FAST = {"embed_dim": 32, "ffn_dim": 64, "heads": 2, "speech_layers": 1, "shared_layers": 1}
WORDS = {"TWO": ["T", "UW1"], "EAT": ["IY1", "T"], "ALLOW": ["AH0", "L", "AW1"], "A": ["AH0"]}
PRONUNCIATIONS = {word: [positioned(phones)] for word, phones in WORDS.items()}
HMM_CLASSES = np.where(BASE_OF_PHONE >= 0, BASE_OF_PHONE, -1)


def by_left_table():
    """Each base phone in two classes: behind silence, and elsewhere."""
    table = np.where(BASE_OF_PHONE >= 0, BASE_OF_PHONE + N_BASE, -1)[None].repeat(N_BASE, axis=0)
    table[0] = np.where(BASE_OF_PHONE >= 0, BASE_OF_PHONE, -1)
    return table


def labels_of(words, frames):
    """10 ms labels of words, so many of each phone, with silence around and between."""
    phones = [SILENCE_ID]
    for word in words:
        phones += [*PRONUNCIATIONS[word][0], SILENCE_ID]
    return np.repeat(phones, frames)


@pytest.fixture(scope="module")
def counts():
    rng = np.random.default_rng(0)
    sentences = [rng.choice(sorted(WORDS), 4) for _ in range(30)]
    return PhoneCounts.of_labels(labels_of(words, rng.integers(5, 15)) for words in sentences)


class Predicted:
    """Stands for PhonePredictor: log probabilities (F, K) that are given, 40 ms apart."""

    def __init__(self, log_posteriors):
        self.log_posteriors = log_posteriors

    def __call__(self, waveform):
        return self.log_posteriors

    def nearest(self, labels):
        return (labels - 2 + 2) // 4


def samples(n_labels):
    return np.zeros(400 + 160 * (n_labels - 1), np.float32)


def model_of(size, **changes):
    torch.manual_seed(0)
    config = getattr(SpeechLMConfig, size)(**{**FAST, **changes})
    return SpeechLM(config, UnitVocabulary.phones().n_ids, 33).eval()


def test_counts_are_by_the_phone_to_the_left():
    labels = [phone_id[name] for name in ("SIL", "T_B", "T_B", "UW1_E", "SIL", "T_B")]
    frames = PhoneCounts.of_labels([np.array(labels), np.array([phone_id["T_B"]])]).frames
    silence, t, uw = (BASE_OF_PHONE[phone_id[name]] for name in ("SIL", "T_B", "UW1_E"))
    expected = np.zeros((N_BASE, N_PHONES))
    expected[silence, phone_id["SIL"]] = 1
    expected[silence, phone_id["T_B"]] = 4
    expected[t, phone_id["UW1_E"]] = 1
    expected[uw, phone_id["SIL"]] = 1
    assert np.array_equal(frames, expected)


def test_scores_are_likelihoods_by_bayes_rule(counts):
    """A slow definition: p(x | class) / p(x) summed phone by phone."""
    rng = np.random.default_rng(1)
    posteriors = rng.dirichlet(np.full(len(SPOKEN), 0.1), size=3) + 1e-9
    table = by_left_table()
    scores = PhoneScores(Predicted(np.log(posteriors)), counts, table, HMM_CLASSES)
    classes, states = scores(samples(12))
    assert classes.shape == (4, 2 * N_BASE) and states.shape == (12, N_PDFS)
    frames = counts.frames + 0.01
    prior = frames[:, SPOKEN].sum(0) / frames[:, SPOKEN].sum()
    chosen = [(BASE_OF_PHONE[phone_id[name]], name) for name in ("T_B", "AH0_B", "SIL")]
    for base, _ in chosen:
        # step 1 is in the middle of labels 3 .. 5: label 4, the first of frame 1
        for number, lefts in ((base, [0]), (base + N_BASE, range(1, N_BASE))):
            total = likelihood = 0.0
            for left in lefts:
                for k, phone in enumerate(SPOKEN):
                    if BASE_OF_PHONE[phone] == base:
                        total += frames[left, phone]
                        likelihood += frames[left, phone] * posteriors[1, k] / prior[k]
            assert classes[1, number] == pytest.approx(np.log(likelihood / total), abs=1e-4)
        same = BASE_OF_PHONE[SPOKEN] == base
        state = np.log(posteriors[2, same].sum() / prior[same].sum())
        # the mean over the phones of a base, weighted by their priors, is that of their sum
        assert states[8, 3 * base : 3 * base + 3] == pytest.approx([state] * 3, abs=1e-4)


def test_ideal_predictions_give_the_words(counts, tmp_path):
    (tmp_path / "text").write_text("TWO EAT ALLOW A\nA TWO\nEAT ALLOW\nALLOW TWO A EAT\n")
    train_ngram([tmp_path / "text"], tmp_path / "lm.arpa", 2, sorted(WORDS), estimator="built_in")
    table = by_left_table()
    n = int(table.max()) + 1
    classes = ClassTable(table, np.full((n, 2), np.log(0.5)), np.zeros(n), np.zeros(1))
    make_graph(PRONUNCIATIONS, tmp_path / "lm.arpa", classes, tmp_path / "graph")
    decoder = WordDecoder(tmp_path / "graph", SearchConfig(1.0, 100.0, 10000))
    for words in (["TWO", "EAT"], ["A", "ALLOW", "A"], ["EAT", "A", "TWO"]):
        labels = labels_of(words, 8)
        posteriors = np.full((len(labels) // 4, len(SPOKEN)), 1e-4)
        posteriors[np.arange(len(posteriors)), np.searchsorted(SPOKEN, labels[2::4])] = 1.0
        scores = PhoneScores(Predicted(np.log(posteriors)), counts, table, HMM_CLASSES)
        steps, states = scores(samples(len(labels)))
        assert decoder.decode(steps) == (words, True)
        base = states.reshape(len(states), -1, 3)[:, :N_BASE, 1].argmax(1)
        assert np.array_equal(base, BASE_OF_PHONE[labels])


@pytest.mark.parametrize(
    ("size", "changes", "learned"),
    [
        ("fast_tiny", {"subsampling": 4}, lambda frame: 4 * frame + 2),
        ("fast_tiny", {"subsampling": 2}, lambda frame: 2 * frame + 1),
        ("tiny", {}, lambda frame: 2 * frame + 0.5),
    ],
)
def test_labels_take_the_frame_that_has_learned_the_nearest_one(size, changes, learned):
    predictor = PhonePredictor(model_of(size, **changes), UnitVocabulary.phones())
    found = predictor.nearest(np.arange(40))
    distance = np.abs(learned(np.arange(-1, 30))[None] - np.arange(40)[:, None])
    assert np.array_equal(distance[np.arange(40), found + 1], distance.min(axis=1))


@pytest.mark.parametrize("size", ["fast_tiny", "tiny"])
def test_predictions_are_those_of_pre_training_without_masks(size):
    model, units = model_of(size, unmasked_weight=1.0), UnitVocabulary.phones()
    wave = 0.1 * torch.randn(1, 16000 * 2)
    frames = model.framing.frames(wave.shape[1])
    labels = torch.full((1, 198), units.n_ids - 2)
    nothing = torch.zeros(1, frames, dtype=torch.bool)
    draws = SpeechDraws(nothing, nothing, 0)
    with torch.no_grad():
        output = model.forward_speech(wave, torch.tensor([wave.shape[1]]), labels, 100, draws)
    depths = {}
    for name, predicted in zip(("middle", "top"), output.unmasked, strict=True):
        logits = predicted.logits[:, torch.tensor(SPOKEN + N_SPECIALS)]
        depths[name] = logits.log_softmax(-1).numpy()
        found = PhonePredictor(model, units, name)(wave[0].numpy())
        assert found.shape == (frames, len(SPOKEN))
        assert np.allclose(found, depths[name], atol=1e-4)
    both = PhonePredictor(model, units)(wave[0].numpy())
    assert np.allclose(both, (depths["middle"] + depths["top"]) / 2, atol=1e-4)
    assert not np.allclose(depths["middle"], depths["top"], atol=1e-2)


def test_units_are_found_by_name():
    """Another order of the vocabulary, and other units among the phones."""
    model, order = model_of("fast_tiny"), np.random.default_rng(0).permutation(len(PHONES))
    wave = np.random.default_rng(1).normal(size=16000).astype(np.float32) * 0.1
    first = PhonePredictor(model, UnitVocabulary.phones())(wave)
    with torch.no_grad():
        for layer in model.final_proj_list:
            rows = torch.tensor(order) + N_SPECIALS
            layer.weight[N_SPECIALS:-1] = layer.weight[rows].clone()
            layer.bias[N_SPECIALS:-1] = layer.bias[rows].clone()
    units = UnitVocabulary([PHONES[n] for n in order])
    assert np.allclose(PhonePredictor(model, units)(wave), first, atol=1e-5)


def test_units_that_are_no_phones_are_refused(model_folder, tmp_path):
    clusters = UnitVocabulary(map(str, range(50)), "some/tokens.txt")
    with pytest.raises(ValueError, match=r"some/tokens.txt: the 346 phones .* 346 of them are mis"):
        PhonePredictor(model_of("fast_tiny"), clusters)
    with pytest.raises(ValueError, match="with phoneme units predicts phones"):
        PhonePredictor.load(model_folder(), "both")
    write_unit_info(tmp_path, 0.02, clusters.symbols)
    with pytest.raises(ValueError, match=r"tokens.txt: the 346 phones"):
        PhoneCounts.of_units(tmp_path, 10)


def test_a_model_that_is_fine_tuned_predicts_no_units(tmp_path):
    model = model_of("tiny")
    save_speechlm(tmp_path / "model", model.config, UnitVocabulary.phones(), model.state_dict())
    assert PhonePredictor.load(tmp_path / "model", "top").depth == "top"
    text = (tmp_path / "model" / "config.yaml").read_text()
    (tmp_path / "model" / "config.yaml").write_text(text.replace("pretrained", "ctc"))
    with pytest.raises(ValueError, match="a pre-trained SpeechLM expected.* of kind ctc"):
        PhonePredictor.load(tmp_path / "model", "top")


def test_speech_without_a_frame_is_named_short(counts):
    predictor = PhonePredictor(model_of("fast_tiny"), UnitVocabulary.phones())
    scores = PhoneScores(predictor, counts, by_left_table(), HMM_CLASSES)
    with pytest.raises(ValueError, match="800 samples are shorter than one frame"):
        scores(np.zeros(800, np.float32))
    classes, states = scores(np.zeros(900, np.float32))  # 4 labels
    assert len(classes) == 2 and len(states) == 4
    assert np.isfinite(classes).all() and np.isfinite(states).all()


def test_counts_of_a_folder_are_spread_over_its_utterances(tmp_path):
    with ArchiveWriter(tmp_path) as writer:
        for number in range(10):
            writer.write(f"u{number}", np.full(number + 1, SILENCE_ID))
    merge_archives(tmp_path, 1)
    write_unit_info(tmp_path, 0.01, PHONES)
    assert PhoneCounts.of_units(tmp_path, 100).frames.sum() == 55
    assert PhoneCounts.of_units(tmp_path, 3).frames.sum() == 1 + 5 + 9
    assert spread(list("abcdefghij"), 5) == list("acegi")
    (tmp_path / "units.scp").write_text("")
    with pytest.raises(ValueError, match="units of at least one utterance expected"):
        PhoneCounts.of_units(tmp_path, 3)


class Frames:
    """What the network reads of an utterance."""

    network = np.zeros((54, 40), np.float32)


class Beside:
    """Stands for Network."""

    def scores(self, features):
        assert len(features) == 54
        return np.full((18, 2 * N_BASE), 3.0), np.full((54, N_PDFS), 5.0)


def test_a_share_of_the_networks_scores_is_added(counts):
    predictor = PhonePredictor(model_of("fast_tiny"), UnitVocabulary.phones())
    data = Waves()
    what = by_left_table(), HMM_CLASSES
    alone = PhoneScores(predictor, counts, *what).of(data, None)("u", None)
    both = PhoneScores(predictor, counts, *what, 0.5).of(data, Beside())("u", Frames)
    assert np.allclose(both[0], alone[0] + 1.5) and np.allclose(both[1], alone[1] + 2.5)


class Waves:
    """Stands for a data directory: the same 54 labels of noise for each utterance."""

    def waveform(self, utterance):
        return np.random.default_rng(0).normal(size=9000).astype(np.float32)


def test_files_hold_everything(counts, tmp_path):
    model = model_of("tiny")
    save_speechlm(tmp_path / "model", model.config, UnitVocabulary.phones(), model.state_dict())
    what = by_left_table(), HMM_CLASSES
    predictor = PhonePredictor(model, UnitVocabulary.phones(), "middle")
    scores = PhoneScores(predictor, counts, *what, 0.25)
    scores.save(tmp_path, counts)
    loaded = PhoneScores.load(tmp_path / "model", tmp_path, *what, "cpu")
    assert loaded.share == 0.25 and loaded.predictor.depth == "middle"
    wave = Waves().waveform("u")
    for a, b in zip(loaded(wave), scores(wave), strict=True):
        assert np.allclose(a, b)
    for content in (
        {"depth": "low", "network_share": 0},
        {"depth": "top", "network_share": -1},
        {},
    ):
        (tmp_path / "info.json").write_text(json.dumps(content))
        with pytest.raises(ValueError, match=r"info.json.*; tune_phone_scores makes it"):
            PhoneScores.load(tmp_path / "model", tmp_path, *what, "cpu")
    np.savez(tmp_path / "phone_counts.npz", frames=np.zeros((3, 3)))
    with pytest.raises(ValueError, match=r"phone_counts.npz.*\(41, 364\) counts expected"):
        PhoneCounts.load(tmp_path / "phone_counts.npz")


def test_left_bases_has_the_counts_rows():
    assert left_bases(np.array([phone_id["T_B"]])).tolist() == [BASE_OF_PHONE[SILENCE_ID]]
