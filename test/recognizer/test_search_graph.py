"""The search graph: what it accepts, and decoding of ideal scores."""

from dataclasses import replace

import numpy as np
import pytest

from speechlm.data.vocabulary import phone_id
from speechlm.recognizer.contexts import (
    N_BASE,
    ContextStatistics,
    build_classes,
    count_stay,
    frame_classes,
    left_bases,
)
from speechlm.recognizer.decoding import SearchConfig, WordDecoder, label_words
from speechlm.recognizer.network_data import ClassTable
from speechlm.recognizer.search_graph import make_graph, read_unknown
from speechlm.recognizer.topology import BASE_OF_PHONE, NOISE_ID, SILENCE_ID, UNKNOWN, positioned

WORDS = {
    "TO": [positioned(["T", "UW1"])],
    "TWO": [positioned(["T", "UW1"])],
    "TOOL": [positioned(["T", "UW1", "L"])],
    "EAT": [positioned(["IY1", "T"])],
    "THE": [positioned(["DH", "AH0"]), positioned(["DH", "IY0"])],
}
ARPA = """\\data\\
ngram 1=7
ngram 2=7

\\1-grams:
-99 <s> -0.5
-1.0 </s>
-1.0 TO -0.5
-1.0 TWO -0.5
-1.0 TOOL -0.5
-1.0 EAT -0.5
-1.0 THE -0.5

\\2-grams:
-0.3 <s> TWO
-0.1 THE TWO
-0.1 EAT TO
-0.3 <s> EAT
-0.4 TO EAT
-0.2 TWO </s>
-0.2 TOOL </s>

\\end\\
"""


def monophone_classes():
    """One class a base phone."""
    table = np.where(BASE_OF_PHONE >= 0, BASE_OF_PHONE, -1)[None].repeat(N_BASE, axis=0)
    half = np.full((N_BASE, 2), np.log(0.5))
    return ClassTable(table, half, np.zeros(N_BASE), np.zeros(1))


def tree_classes():
    """Every phone in two classes: after silence, and elsewhere."""
    table = np.where(BASE_OF_PHONE >= 0, BASE_OF_PHONE + N_BASE, -1)[None].repeat(N_BASE, axis=0)
    table[0] = np.where(BASE_OF_PHONE >= 0, BASE_OF_PHONE, -1)
    return ClassTable(
        table, np.full((2 * N_BASE, 2), np.log(0.5)), np.zeros(2 * N_BASE), np.zeros(1)
    )


@pytest.fixture(scope="module", params=[monophone_classes, tree_classes])
def setting(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("graph")
    (folder / "lm.arpa").write_text(ARPA)
    classes = request.param()
    make_graph(WORDS, folder / "lm.arpa", classes, folder / "graph")
    return classes, WordDecoder(folder / "graph", SearchConfig(1.0, 100.0, 10000))


def scores_of(phones, classes, repeat=2):
    """Scores that leave no doubt about the phones, `repeat` steps each."""
    labels = np.repeat(phones, repeat)
    scores = np.full((len(labels), classes.n_classes), -50.0, np.float32)
    scores[np.arange(len(labels)), frame_classes(labels, classes.table)] = 0.0
    return scores


@pytest.mark.parametrize(
    "words", [["TWO"], ["EAT", "TO", "EAT"], ["THE", "TWO"], ["TOOL"], ["EAT", "TOOL"]]
)
@pytest.mark.parametrize("pause", [False, True])
@pytest.mark.parametrize("repeat", [1, 3])
def test_ideal_scores_give_the_words(setting, words, pause, repeat):
    classes, decoder = setting
    phones = [SILENCE_ID] * pause
    for word in words:
        phones += [*WORDS[word][0], *[SILENCE_ID] * pause]
    assert decoder.decode(scores_of(phones, classes, repeat)) == (words, True)


def test_the_graph_of_a_larger_network_is_refused(setting):
    """The search would read what is behind the scores in memory."""
    classes, decoder = setting
    scores = scores_of(WORDS["TWO"][0], classes)
    with pytest.raises(ValueError, match=r"graph.fst: a graph of this network expected.* are 5;"):
        decoder.decode(scores[:, :5])


def test_the_word_model_chooses_among_homophones(setting):
    classes, decoder = setting
    for words in (["EAT", "TO"], ["THE", "TWO"]):
        phones = [p for word in words for p in WORDS[word][0]]
        assert decoder.decode(scores_of(phones, classes))[0] == words


def test_variants_are_accepted(setting):
    classes, decoder = setting
    phones = [*WORDS["THE"][1], *WORDS["TWO"][0]]
    assert decoder.decode(scores_of(phones, classes)) == (["THE", "TWO"], True)


def test_unfinished_words_are_reported(setting):
    classes, decoder = setting
    decoder.config, kept = SearchConfig(1.0, 5.0, 10000, 0), decoder.config
    phones = [*WORDS["EAT"][0], *WORDS["THE"][0][:1]]
    words, complete = decoder.decode(scores_of(phones, classes))
    decoder.config = kept
    assert not complete
    assert words[:1] == ["EAT"]


WITH_UNKNOWN = ARPA.replace("ngram 1=7", "ngram 1=8").replace("-1.0 TO -", "-2.0 <unk>\n-1.0 TO -")


def noise_decoder(folder, frames=1000, arpa=WITH_UNKNOWN):
    """Decoder of a network that has seen so many frames of noise."""
    folder.mkdir()
    (folder / "lm.arpa").write_text(arpa)
    classes = monophone_classes()
    classes.noise_frames = frames
    words = {**WORDS, UNKNOWN: [(NOISE_ID,)]}
    make_graph(words, folder / "lm.arpa", classes, folder / "graph")
    config = SearchConfig(1.0, 1000.0, 10000, noise_margin=100.0)
    return WordDecoder(folder / "graph", config), classes


def test_noise_is_a_word_where_the_network_knows_it(tmp_path):
    phones = [*WORDS["EAT"][0], NOISE_ID, SILENCE_ID, *WORDS["EAT"][0]]
    for frames, expected in ((1000, ["EAT", UNKNOWN, "EAT"]), (99, None)):
        decoder, classes = noise_decoder(tmp_path / str(frames), frames)
        graph = tmp_path / str(frames) / "graph"
        found, _ = decoder.decode(scores_of(phones, classes))
        assert found == expected if expected else UNKNOWN not in found
        assert decoder.finds_noise == bool(expected)
        assert (f"{UNKNOWN} " in (graph / "words.txt").read_text()) == bool(expected)
        assert read_unknown(graph / "info.json") == (-2.0 if expected else None)
        plain = [*WORDS["EAT"][0], *WORDS["TO"][0], *WORDS["EAT"][0]]
        assert decoder.decode(scores_of(plain, classes))[0] == ["EAT", "TO", "EAT"]


def test_noise_is_expected_at_its_rate_whatever_the_word_model_says(tmp_path):
    """Noise that is as likely by its sound as a word: who wins, and by how much, is the rate's."""
    phones = [*WORDS["EAT"][0], *WORDS["TOOL"][0]]
    noisy = [*WORDS["EAT"][0], *[NOISE_ID] * 3]
    for number, unknown in enumerate(("-2.0", "-7.0")):
        arpa = WITH_UNKNOWN.replace("-2.0 <unk>", f"{unknown} <unk>")
        decoder, classes = noise_decoder(tmp_path / str(number), arpa=arpa)
        wrong = np.maximum(scores_of(phones, classes), scores_of(noisy, classes))
        found = {}
        for rate in (0.0, 1e-4, 0.9):
            decoder.config = replace(decoder.config, noise_rate=rate)
            found[rate] = decoder.decode(wrong)[0]
        assert found == {0.0: ["EAT", "TOOL"], 1e-4: ["EAT", "TOOL"], 0.9: ["EAT", UNKNOWN]}


def test_noise_takes_what_fits_no_word(tmp_path):
    """Phones in an order that no word has, which the network is sure of: AA, K, AA."""
    decoder, classes = noise_decoder(tmp_path / "noise")
    name = [phone_id[phone] for phone in ("AA1_B", "K_I", "AA1_E")]
    scores = scores_of([*WORDS["EAT"][0], *name, *WORDS["EAT"][0]], classes)
    found = {}
    for margin in (2.0, 60.0):
        decoder.config = replace(decoder.config, noise_margin=margin)
        found[margin], _ = decoder.decode(scores)
    assert found[2.0] == ["EAT", UNKNOWN, "EAT"] and UNKNOWN not in found[60.0]
    decoder.config = replace(decoder.config, noise_margin=0.5)
    plain = [*WORDS["EAT"][0], SILENCE_ID, *WORDS["TO"][0], *WORDS["EAT"][0], SILENCE_ID]
    assert decoder.decode(scores_of(plain, classes, 5))[0] == ["EAT", "TO", "EAT"]


def test_a_word_model_without_unknown_words_gives_no_noise(tmp_path, caplog):
    decoder, classes = noise_decoder(tmp_path / "plain", arpa=ARPA)
    assert not decoder.finds_noise
    assert (
        "lacks 1 of the 6 words of the lexicon, which will not be recognised: <unk>" in caplog.text
    )
    found, _ = decoder.decode(scores_of([*WORDS["EAT"][0], NOISE_ID], classes))
    assert UNKNOWN not in found


def test_a_graph_of_an_earlier_version_is_to_be_made_again(tmp_path):
    noise_decoder(tmp_path / "noise")
    info = tmp_path / "noise" / "graph" / "info.json"
    info.write_text('{"words": 6, "noise": true}')
    with pytest.raises(ValueError, match=r"info.json .*log10_unknown.*; make_graph makes it"):
        WordDecoder(info.parent, SearchConfig())


@pytest.mark.parametrize(
    "values",
    [{"acoustic_scale": 0.0}, {"noise_rate": 1.0}, {"noise_rate": -0.1}, {"noise_margin": -1}],
)
def test_values_with_which_nothing_is_found_are_refused(values):
    with pytest.raises(ValueError, match="a scale above 0, a rate from 0 to below 1 and a margin"):
        SearchConfig(**values)


def test_missing_files_say_who_makes_them(tmp_path):
    with pytest.raises(ValueError, match="train_ngram"):
        make_graph(WORDS, tmp_path / "no.arpa", monophone_classes(), tmp_path / "graph")
    with pytest.raises(ValueError, match="make_graph"):
        WordDecoder(tmp_path, SearchConfig())


def test_a_damaged_word_model_is_named(tmp_path):
    """kaldilm would end the process."""
    (tmp_path / "lm.arpa").write_text(ARPA[: len(ARPA) // 2])
    with pytest.raises(ValueError, match="lm.arpa:12: "):
        make_graph(WORDS, tmp_path / "lm.arpa", monophone_classes(), tmp_path / "graph")
    assert [path.name for path in tmp_path.iterdir()] == ["lm.arpa"]


def test_a_full_disk_leaves_no_graph(tmp_path, full_disk):
    (tmp_path / "lm.arpa").write_text(ARPA)
    make_graph(WORDS, tmp_path / "lm.arpa", monophone_classes(), tmp_path / "graph")
    size = (tmp_path / "graph" / "graph.fst").stat().st_size
    with full_disk(size - 1), pytest.raises(OSError, match="graph.fst cannot be written"):
        make_graph(WORDS, tmp_path / "lm.arpa", monophone_classes(), tmp_path / "other")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["graph", "lm.arpa"]


def test_left_context():
    labels = np.array([phone_id[p] for p in ["T_B", "T_B", "UW1_E", "SIL", "L_S", "L_S"]])
    names = [BASE_OF_PHONE[phone_id[p]] for p in ["SIL", "SIL", "T_B", "UW1_E", "SIL", "SIL"]]
    assert left_bases(labels).tolist() == names


def test_the_tree_splits_where_the_sound_differs():
    rng = np.random.default_rng(0)
    statistics = ContextStatistics(2)
    t, uw, el, sil = (phone_id[p] for p in ("T_B", "UW1_E", "L_B", "SIL"))
    for _ in range(40):
        for first, offset in ((t, 0.0), (el, 6.0)):
            labels = np.repeat([sil, first, uw, sil], 5)
            frames = rng.normal(size=(20, 2))
            frames[10:15] += offset  # UW differs after T and after L, nothing else does
            statistics.add(labels, frames)
    table = build_classes(statistics, max_classes=N_BASE + 1, min_count=50)
    assert table.max() == N_BASE
    bases = [BASE_OF_PHONE[p] for p in (t, el)]
    assert table[bases[0], uw] != table[bases[1], uw]
    assert len({table[b, t] for b in range(N_BASE)}) == 1
    assert build_classes(statistics, max_classes=400, min_count=1e6).max() == N_BASE - 1


def test_stay_probabilities():
    classes = monophone_classes()
    labels = np.repeat([SILENCE_ID, phone_id["T_B"], SILENCE_ID], [150, 60, 150])
    stay = count_stay([labels], classes.table, 3)
    expected = (2 + 2) / (4 + 100)  # two visits in 100 steps, with the prior counts
    assert np.exp(stay[BASE_OF_PHONE[SILENCE_ID], 1]) == pytest.approx(expected)


class _Model:
    """Stands for AlignmentModel: aligns only from `need` frames on."""

    def __init__(self, need):
        self.need = need

    def align(self, words, pronunciations, scores):
        if len(scores) < self.need:
            raise ValueError("too few")
        count = len(scores)

        class Graph:
            phone = np.arange(count)
            pdf = np.arange(count)

        return Graph, np.arange(count)


def test_labels_of_words_that_need_a_few_more_frames():
    phone, _ = label_words(["A"], _Model(12), {}, np.zeros((10, 3), np.float32))
    assert phone.tolist() == list(range(10))
    with pytest.raises(ValueError, match="too few"):
        label_words(["A"], _Model(100), {}, np.zeros((10, 3), np.float32))
