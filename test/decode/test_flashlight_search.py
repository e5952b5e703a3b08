"""flashlight's search equals trying all sentences, with n-grams and fused models; bad inputs."""

import gzip
import importlib.util
import math
import weakref
from pathlib import Path

import kenlm
import numpy as np
import pytest
import torch
from flashlight.lib.text.decoder import LexiconDecoder

from speechlm.decode import flashlight_search
from speechlm.decode.ctc_greedy import greedy
from speechlm.decode.ctc_search import CTCSearch, Found, Weights
from speechlm.decode.decode_set import WithModel, as_sentence
from speechlm.decode.flashlight_search import (
    PAPER,
    PAPER_TRANSFORMER,
    FlashlightOptions,
    FlashlightSearch,
)
from speechlm.lm.ctc_graph import ARPA_COPY, LEXICON_COPY, WORD_START, make_ctc_graph
from speechlm.lm.ngram import train
from speechlm.lm.search import Beam
from speechlm.lm.spellings import read_spellings

SPEC = importlib.util.spec_from_file_location(
    "brute_force", Path(__file__).with_name("brute_force.py")
)
brute_force = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(brute_force)

WORDS = sorted({word for word, _ in brute_force.lexicon()})
WIDE = {"beam": 10**6, "beam_threshold": 1e9}
BLANK, WORD_END = brute_force.VOCABULARY.blank, brute_force.VOCABULARY.word_end


class Toy:
    """A toy task's files, and a generator of random numbers."""

    def __init__(self, folder, seed=0):
        self.rng = np.random.default_rng(seed)
        self.model = brute_force.RandomTrigram(self.rng, WORDS)
        self.lexicon, self.arpa = folder / "lexicon.lst", folder / "lm.arpa"
        self.lexicon.write_text(brute_force.LEXICON)
        self.model.write(self.arpa)

    def search(self, lm=None, **options):
        return FlashlightSearch(
            self.lexicon, self.arpa if lm is None else lm, FlashlightOptions(**options)
        )

    def weights(self):
        rng = self.rng
        return Weights(rng.uniform(0.5, 3), rng.uniform(-2, 2), rng.uniform(-1, 2))

    def emissions(self, frames):
        return brute_force.random_emissions(self.rng, frames)


@pytest.fixture
def toy(tmp_path):
    return Toy(tmp_path)


class FakeNeural:
    """A trigram model behind the interface of a neural one; notes what is computed together.

    Ids are those of the words from 5 on; a state is the tuple of words before.
    """

    end = 2

    def __init__(self, model):
        self.model, self.steps, self.rows = model, [], []

    def word_ids(self, words):
        return np.array([5 + WORDS.index(word) for word in words])

    def unknown_words(self, sentences):
        return sum(word not in WORDS for text in sentences for word in text.split())

    def start(self):
        return ("<s>",)

    def step(self, states, words):
        self.steps.append(len(states))
        return [(*state, WORDS[word - 5]) for state, word in zip(states, words, strict=True)]

    def log_probs(self, states):
        self.rows.append(len(states))
        scores = torch.full((len(states), 5 + len(WORDS)), -50.0, dtype=torch.float64)
        for row, state in zip(scores, states, strict=True):
            for token, word in [*enumerate(WORDS, 5), (self.end, "</s>")]:
                row[token] = math.log(10) * self.model.word(state[-2:], word)
        return scores


@pytest.mark.parametrize("log_add", [False, True])
@pytest.mark.parametrize("fused", [False, True])
def test_wide_beams_find_what_trying_all_sentences_finds(tmp_path, log_add, fused):
    add = np.logaddexp if log_add else max
    for seed in range(8):
        toy = Toy(tmp_path, seed)
        model, weights = FakeNeural(toy.model), toy.weights()
        search = toy.search(model if fused else None, log_add=log_add, **WIDE)
        emissions = toy.emissions(1 + seed)
        wanted = brute_force.all_sentences(
            emissions, toy.model.sentence, weights, silence=True, add=add
        )
        entries, complete = search.nbest(emissions, weights, 10**6)
        brute_force.assert_list(entries, wanted, weights)
        assert complete
        assert search.decode(emissions, weights) == Found(wanted[0][3], complete=True)
        assert bool(model.rows) == fused


def test_a_fused_model_computes_the_histories_of_a_beam_together_and_once(toy):
    model = FakeNeural(toy.model)
    search, weights, emissions = toy.search(model, beam=200), Weights(), toy.emissions(30)
    model.steps, model.rows = [], []
    first = search.nbest(emissions, weights, 20)
    assert max(model.steps) > 10 and len(model.steps) < sum(model.steps) / 3
    assert sum(model.rows) == sum(model.steps) + 1  # and the sentence's beginning
    again = search.nbest(emissions, weights, 20)
    assert [e.words for e in again[0]] == [e.words for e in first[0]]
    # a search that keeps one row at a time finds the same
    search._lm._most_rows = 1
    few = search.nbest(emissions, weights, 20)
    assert [(e.words, e.total(weights)) for e in few[0]] == [
        (e.words, e.total(weights)) for e in first[0]
    ]


def test_scores_are_log10_and_an_entry_s_alignment_has_its_words(toy):
    oracle, weights = kenlm.Model(str(toy.arpa)), toy.weights()
    emissions = toy.emissions(8)
    entries, _ = toy.search(**WIDE).nbest(emissions, weights, 50)
    assert max(len(e.words) for e in entries) > 2
    for entry in entries:
        assert entry.ngram == pytest.approx(oracle.score(" ".join(entry.words)), abs=1e-4)
        starts = entry.labels == WORD_START
        assert starts.sum() == len(entry.words)
        path = np.where(starts, WORD_END, entry.labels)
        score = emissions[np.arange(8), path].sum() - weights.blank_score * (path == BLANK).sum()
        assert entry.acoustic == pytest.approx(score, abs=1e-4)


def test_published_settings():
    assert PAPER == (FlashlightOptions(1500, 33, 100.0), Weights(2.0, -1.0, 0.0))
    options, weights = PAPER_TRANSFORMER
    assert (options.beam, options.beam_threshold, weights.word_score) == (500, 25.0, -0.31)
    # 0.9 nats for a nat: log10 P is ln P / ln 10
    assert weights.lm_weight * math.log10(0.3) == pytest.approx(0.9 * math.log(0.3))


@pytest.mark.parametrize(
    "options", [{"beam": 0}, {"beam": -1}, {"beam_size_token": 0}, {"beam_threshold": math.nan}]
)
def test_options_that_find_nothing_are_refused(options):
    with pytest.raises(ValueError, match=f"{next(iter(options))} is .* above 0 expected"):
        FlashlightOptions(**options)


def spoiled(emissions, kind):
    emissions = emissions.copy()
    if kind == "one NaN":
        emissions[3, 7] = np.nan
    elif kind == "all NaN":
        emissions[:] = np.nan
    else:
        emissions[2] = -np.inf
    return emissions


@pytest.mark.parametrize("kind", ["one NaN", "all NaN", "a frame of -inf"])
def test_values_that_are_not_finite_are_refused(toy, kind):
    bad = spoiled(toy.emissions(6), kind)
    for ask in (toy.search().decode, lambda *a: toy.search().nbest(*a, 5)):
        with pytest.raises(ValueError, match="of 6 frames have values that are not finite"):
            ask(bad, Weights())


def test_other_layouts_are_read_right_and_other_shapes_refused(toy):
    search, emissions, weights = toy.search(), toy.emissions(12), toy.weights()
    wanted = search.nbest(emissions, weights, 5)[0][0].total(weights)
    wide = np.zeros((12, 66), np.float32)
    wide[:, ::2] = emissions
    for same in (emissions.astype(np.float64), np.asfortranarray(emissions), wide[:, ::2]):
        assert search.nbest(same, weights, 5)[0][0].total(weights) == pytest.approx(wanted)
    before = emissions.copy()
    search.decode(emissions, Weights(blank_score=2.0))
    assert (emissions == before).all()
    for odd in (emissions[:, :-1], emissions[0], (emissions * 10).astype(np.int64)):
        with pytest.raises(ValueError, match="expected, got"):
            search.decode(odd, weights)


def test_no_frame_one_frame_and_silence(toy):
    search, weights = toy.search(), Weights()
    nothing = np.zeros((0, 33), np.float32)
    assert search.decode(nothing, weights) == Found((), complete=False)
    assert search.nbest(nothing, weights, 3) == ([], False)
    silence = np.full((40, 33), -20.0, np.float32)
    silence[:, BLANK] = 0.0
    for frames in (1, 40):
        assert search.decode(silence[:frames], weights) == Found((), complete=True)
        silence[20:, [BLANK, WORD_END]] = [-20.0, 0.0]  # silence as some networks write it
    (entry, *_), complete = search.nbest(silence, weights, 3)
    assert (entry.words, complete) == ((), True)


@pytest.mark.parametrize("fused", [False, True])
def test_an_end_within_a_word_is_told_and_its_words_are_scored_as_a_sentence(toy, fused):
    search = toy.search(FakeNeural(toy.model) if fused else None, beam=30, beam_threshold=15.0)
    weights, text = toy.weights(), "A|BAB|BA"
    emissions = np.full((len(text), 33), -30.0, np.float32)
    for frame, character in zip(emissions, text, strict=True):
        frame[brute_force.VOCABULARY.symbols.index(character)] = 0.0
    assert search.decode(emissions, weights) == Found(("A", "BAB"), complete=False)
    entries, complete = search.nbest(emissions, weights, 5)
    assert not complete and len({e.words for e in entries}) == len(entries)
    best = next(e for e in entries if e.words == ("A", "BAB"))
    assert best.acoustic == pytest.approx(0.0, abs=1e-4)
    assert best.ngram == pytest.approx(toy.model.sentence(("A", "BAB")), abs=1e-4)
    totals = [e.total(weights) for e in entries]
    assert totals == sorted(totals, reverse=True)


def test_a_spelling_of_many_words_keeps_the_likeliest(tmp_path, caplog):
    toy = Toy(tmp_path)
    words = [f"A{letter}" for letter in "BCDEFGHI"]
    scores = dict(zip(words, (-1.4, -1.0, -1.2, -0.9, -1.1, -0.8, -1.3, -1.5), strict=True))
    toy.lexicon.write_text("".join(f"{word}\tA |\n" for word in words))
    rows = [f"{score}\t{word}" for word, score in scores.items()]
    head = f"\\data\\\nngram 1={len(rows) + 2}\nngram 2=1\n\n\\1-grams:\n-99\t<s>\t0\n-1\t</s>\n"
    tail = "\n\n\\2-grams:\n-0.5\t<s> AC\n\n\\end\\\n"
    toy.arpa.write_text(head + "\n".join(f"{row}\t0" for row in rows) + tail)
    entries, _ = toy.search(**WIDE).nbest(toy.emissions(3), Weights(), 20)
    found = {e.words[0] for e in entries if e.words}
    assert found == set(words) - {"AB", "AI"}
    assert "2 words have the spelling of 6 likelier ones and will not be recognised" in caplog.text


def test_words_that_the_model_lacks_are_left_out_and_counted(toy, caplog):
    toy.lexicon.write_text(brute_force.LEXICON + "AA\tA A |\n")
    emissions, weights = toy.emissions(7), toy.weights()
    wanted = brute_force.all_sentences(emissions, toy.model.sentence, weights, silence=True)
    for model in (toy.arpa, FakeNeural(toy.model)):
        caplog.clear()
        entries, _ = toy.search(model, **WIDE).nbest(emissions, weights, 10**6)
        brute_force.assert_list(entries, wanted, weights)
        assert "lacks 1 words of the lexicon, which will not be recognised: AA" in caplog.text
    toy.lexicon.write_text("AA\tA A |\n")
    for model in (toy.arpa, FakeNeural(toy.model)):
        with pytest.raises(ValueError, match="has none of the 1 words of the lexicon, such as AA"):
            toy.search(model)


def test_a_neural_models_score_is_in_its_column_in_nats(toy):
    search, weights = toy.search(FakeNeural(toy.model), **WIDE), toy.weights()
    entry = search.nbest(toy.emissions(3), weights, 1)[0][0]
    found = as_sentence(entry, WithModel(search, weights, 5, neural=True))
    assert found.ngram is None and found.total == entry.total(weights)
    wanted = math.log(10) * toy.model.sentence(entry.words)
    assert found.neural == pytest.approx(wanted, abs=1e-4)


def test_a_packed_model_is_read(toy, tmp_path):
    packed = tmp_path / "lm.arpa.gz"
    packed.write_bytes(gzip.compress(toy.arpa.read_bytes()))
    emissions, weights = toy.emissions(8), toy.weights()
    assert toy.search(packed).decode(emissions, weights) == toy.search().decode(emissions, weights)


ARPA_1 = "\\data\\\nngram 1=3\n\n\\1-grams:\n-1 A\n-99 <s>\n-1 </s>\n\n\\end\\\n"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: None, "lm.arpa expected, but it is not there"),
        (lambda text: "", "lm.arpa is empty"),
        (lambda text: "A CAT SAT\n", "lm.arpa is cut off or damaged, or holds no n-gram model"),
        (lambda text: text[: len(text) // 4], "lm.arpa"),
        (lambda text: text[: -len("\n\\end\\\n") - 30], "lm.arpa is cut off or damaged"),
        (lambda text: ARPA_1, "lm.arpa .*at least a bigram model"),
    ],
)
def test_a_file_that_is_no_whole_model_is_named(toy, change, message):
    text = change(toy.arpa.read_text())
    toy.arpa.unlink()
    if text is not None:
        toy.arpa.write_text(text)
    with pytest.raises(ValueError, match=message) as error:
        toy.search()
    assert "pip-req-build" not in str(error.value)  # KenLM's messages name its builder's folders


@pytest.mark.parametrize("fused", [False, True])
def test_the_beams_of_an_utterance_are_freed(toy, monkeypatch, fused):
    made = []

    def decoder(*args, **options):
        result = LexiconDecoder(*args, **options)
        made.append(weakref.ref(result))
        return result

    monkeypatch.setattr(flashlight_search, "LexiconDecoder", decoder)
    search = toy.search(FakeNeural(toy.model) if fused else None)
    for _ in range(3):
        search.decode(toy.emissions(10), Weights())
    assert len(made) == 3 and not any(reference() for reference in made)


@pytest.fixture(scope="module")
def language(tmp_path_factory):
    """(sentences, folder of the decoding graph of their words and trigrams)."""
    folder, rng = tmp_path_factory.mktemp("language"), np.random.default_rng(3)
    letters = list("ETAONIHSRDLU'")
    words = sorted({"A" + "".join(rng.choice(letters, n)) for n in rng.integers(0, 7, 300)})
    successors = rng.integers(0, len(words), (len(words), 8))
    sentences, word = [], 0
    for _ in range(400):
        chain = [word := successors[word, rng.integers(8)] for _ in range(rng.integers(1, 8))]
        sentences.append(" ".join(words[n] for n in chain))
    (folder / "text").write_text("\n".join(sentences) + "\n")
    (folder / "words").write_text("\n".join(words) + "\n")
    train([folder / "text"], folder / "lm.arpa", 3, words, estimator="built_in")
    make_ctc_graph(read_spellings(folder / "words"), folder / "lm.arpa", folder / "graph")
    return sentences, folder / "graph"


def spoken(sentence, rng, noise):
    """Emissions in which each character of a sentence is the likeliest in two or three frames."""
    frames, last = [], None
    for label in brute_force.VOCABULARY.encode(sentence):
        frames += [BLANK] * int(label == last or rng.integers(2)) + [label] * rng.integers(2, 4)
        last = label
    logits = rng.normal(0, noise, (len(frames), 33))
    logits[np.arange(len(frames)), frames] += 6.0
    return brute_force.log_softmax(logits)


@pytest.fixture
def searches(language):
    """Through the graph, and flashlight's, both wide."""
    graph = language[1]
    through_graph = CTCSearch(graph, Beam(20.0, 5000))
    options = FlashlightOptions(500)
    return through_graph, FlashlightSearch(graph / LEXICON_COPY, graph / ARPA_COPY, options)


def test_both_searches_find_the_words_of_clean_outputs(language, searches):
    rng, weights, errors = np.random.default_rng(1), Weights(2.0, -1.0, 0.5), 0
    for sentence in language[0][:12]:
        emissions = spoken(sentence, rng, noise=1.5)
        for search in searches:
            assert search.decode(emissions, weights) == Found(tuple(sentence.split()), True)
        ours, theirs = (search.nbest(emissions, weights, 1)[0][0] for search in searches)
        assert ours.total(weights) == pytest.approx(theirs.total(weights), abs=0.02)
        assert ours.ngram == pytest.approx(theirs.ngram, abs=0.02)
        errors += greedy(emissions) != sentence
    assert errors > 3  # the word model has a say


def test_on_noisy_outputs_each_search_is_best_by_its_own_definition(language, searches):
    rng, weights = np.random.default_rng(2), Weights(2.0, -1.0, 0.5)
    oracle = kenlm.Model(str(language[1] / ARPA_COPY))
    differ = 0
    for sentence in language[0][:12]:
        emissions = spoken(sentence, rng, noise=2.5)
        found = [" ".join(search.decode(emissions, weights).words) for search in searches]

        def total(words, silence, emissions=emissions):
            ends = words.replace(" ", "|") + "|"
            acoustic = brute_force.alignment_score(emissions, ends, 0.5, silence)
            return acoustic + 2.0 * oracle.score(words) - len(words.split())

        # flashlight may write further `|` between words
        ours, theirs = (([total(words, silence) for words in found]) for silence in (False, True))
        assert ours[0] > ours[1] - 0.02 and theirs[1] > theirs[0] - 0.02
        differ += found[0] != found[1]
    assert differ < 4
