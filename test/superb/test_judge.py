"""Each kind of task is learned from layers that tell the answer, and not from others."""

import itertools

import numpy as np
import pytest
import yaml

from speechlm.superb import metrics, training
from speechlm.superb.judge import folds_of, judge_task
from speechlm.superb.problems import marked, slots_of

SETS = {"train": 16, "dev": 6, "test": 21}
FAST = {"steps": 30, "batch": 8, "accumulate": 1, "evaluate": 30, "hidden": 16, "pooled": 16}


@pytest.fixture
def judged(tmp_path, make_task):
    """Function: judge a task by some layers, with one rate and one seed."""

    def run(kind, rows, signs, features, trials=(), rates=(3e-2,), seeds=(1,), kept=None, **values):
        task, data = make_task(rows, {u: len(s) for u, s in signs.items()}, trials)
        task.write(tmp_path / "task")
        config = tmp_path / "config.yaml"
        own = {**FAST, "rates": list(rates), **values}
        config.write_text(yaml.safe_dump({kind: own} if kind != "qbe" else {}))
        return judge_task(kind, tmp_path / "task", data, features, config, seeds, "cpu", kept)

    return run


def utterances():
    """(set, name) of all."""
    for group, n in SETS.items():
        yield from ((group, f"{group}{i}") for i in range(n))


def sequences(symbols, most=4):
    """{utterance: symbols of its frames, 2 frames each}, at random."""
    rng = np.random.default_rng(0)
    return {u: rng.integers(1, symbols, rng.integers(2, most + 1)) for _, u in utterances()}


def scores(tested):
    return {name: [metrics.value(s) for s in parts] for name, parts in tested.scores.items()}


def test_classes(judged, told):
    classes = {u: i % 3 for i, (_, u) in enumerate(utterances())}
    signs = {u: [c] * 6 for u, c in classes.items()}
    rows = {u: (group, f"c{classes[u]}") for group, u in utterances()}
    tested = judged("ks", rows, signs, told(signs))
    assert scores(tested)["accuracy"] == [100]
    assert tested.weights[0].argmax() == 1  # the layer that tells
    untold = told({u: [0] * 6 for u in signs})
    assert np.mean(scores(judged("ks", rows, signs, untold))["accuracy"]) < 75


def test_an_intent_is_right_if_all_its_parts_are(judged, told):
    both = {u: (i % 2, i // 2 % 2) for i, (_, u) in enumerate(utterances())}
    rows = {u: (group, f"a{both[u][0]} b{both[u][1]} none") for group, u in utterances()}
    first = {u: [a] * 6 for u, (a, _) in both.items()}
    half = judged("ic", rows, first, told(first))
    signs = {u: [2 * a + b] * 6 for u, (a, b) in both.items()}
    whole = judged("ic", rows, signs, told(signs))
    assert scores(whole)["accuracy"] == [100]
    assert max(scores(half)["accuracy"]) < 80


def test_phones(judged, told):
    spoken = sequences(5)
    signs = {u: [n for s in said for n in (s, s, 0)] for u, said in spoken.items()}
    rows = {u: (g, " ".join(f"P{s}" for s in spoken[u])) for g, u in utterances()}
    tested = judged("pr", rows, signs, told(signs), steps=80)
    assert max(scores(tested)["PER"]) < 10


def test_words_and_what_training_lacks(judged, told):
    letters = " ABC"
    texts = {u: ("AB C", "CB A")[i % 2] for i, (_, u) in enumerate(utterances())}
    signs = {u: [n for c in t for n in (letters.index(c) + 1, 0)] for u, t in texts.items()}
    rows = {u: (group, texts[u]) for group, u in utterances()}
    signs["train0"] = [1] * 8
    rows["test0"], rows["train0"] = ("test", "AB Z"), ("train", "ABCABCABCABCABC")
    tested = judged(
        "asr", rows, signs, told(signs), rates=(1e-2,), steps=160, evaluate=20, hidden=32
    )
    assert max(scores(tested)["WER"]) < 15
    notes = " ".join(tested.notes)
    assert "1 utterances are not trained on" in notes and "train0" in notes
    assert "symbols that train lacks" in notes and "test0" in notes


def test_slots(judged, told):
    labels = {u: f"A|O B|{'xy'[i % 2]}" for i, (_, u) in enumerate(utterances())}
    signs = {u: [1, 0, 2, 3 + i % 2, 4, 5, 0, 0] for i, (_, u) in enumerate(utterances())}
    rows = {u: (group, labels[u]) for group, u in utterances()}
    tested = judged("sf", rows, signs, told(signs), rates=(1e-2,), steps=150, hidden=32)
    found = scores(tested)
    assert min(found["F1"]) > 90 and max(found["CER"]) < 20


def test_marks_of_slots_come_back():
    symbols = marked("PLAY|O NEW|city YORK|city BY|O A|artist B|song")
    assert symbols[:6] == ["P", "L", "A", "Y", " ", "B-city"]
    assert slots_of(symbols) == {"city": ["NEW YORK"], "artist": ["A"], "song": ["B"]}
    assert slots_of(["B-a", "X", "B-b", "Y", "E-b", "E-a", "E-c"]) == {"b": ["Y"]}


def test_verification(judged, told):
    who = {u: i % 4 for i, (_, u) in enumerate(utterances())}
    signs = {u: [c] * 20 for u, c in who.items()}
    rows = {u: (group, f"s{who[u]}") for group, u in utterances()}
    trials = [
        (who[a] == who[b], a, b)
        for group in ("dev", "test")
        for a, b in itertools.combinations([u for g, u in utterances() if g == group], 2)
    ]
    tested = judged("asv", rows, signs, told(signs), trials, rates=(1e-3,), seconds=0.35)
    assert max(scores(tested)["EER"]) < 5
    signs["test1"] = [0] * 14
    with pytest.raises(ValueError, match="need 15 frames of speechlm; 1 have less: test1"):
        judged("asv", rows, signs, told(signs), trials)


def test_diarization(judged, told):
    rng = np.random.default_rng(2)
    signs, rows = {}, {}
    for group, u in utterances():
        border = int(rng.integers(20, 40))
        signs[u] = [1] * border + [2] * (60 - border)
        seconds = border * 0.02
        rows[u] = (group, f"a:0.000:{seconds:.3f} b:{seconds:.3f}:1.220")
    tested = judged("sd", rows, signs, told(signs), rates=(2e-2,), steps=30)
    assert max(scores(tested)["DER"]) < 10


def test_query_by_example(judged, told):
    rng = np.random.default_rng(3)
    words = {f"q{i}": list(rng.permutation(8)) for i in range(6)}
    signs, rows = {}, {}
    for i, (query, said) in enumerate(words.items()):
        signs[query] = said
        signs[f"d{i}"] = [*rng.integers(0, 8, 10), *said, *rng.integers(0, 8, 10)]
        rows[query] = ("dev" if i < 3 else "test", f"d{i}")
        rows[f"d{i}"] = ("doc", "-")
    tested = judged("qbe", rows, signs, told(signs))
    assert scores(tested)["MTWV"] == [1.0]
    assert tested.weights[0].tolist() == [0, 1, 0]
    rows["q1"], rows["q4"] = ("dev", "-"), ("test", "-")
    tested = judged("qbe", rows, signs, told(signs))
    assert tested.notes[0] == "1 queries of test are in no document and are not scored"
    assert len(tested.scores["MTWV"][0]) == 2


def test_each_session_of_emotions_is_tested_once(judged, told, make_task):
    names = [f"{session}x{i}" for session in "12345" for i in range(8)]
    signs = {u: [int(u[2:]) % 4] * 5 for u in names}
    rows = {u: (u[0], f"e{int(u[2:]) % 4}") for u in names}
    tested = judged("er", rows, signs, told(signs))
    assert scores(tested)["accuracy"] == [100] and len(tested.scores["accuracy"][0]) == 40
    task, _ = make_task(rows, dict.fromkeys(names, 5))
    for fold, session in zip(folds_of(task), "12345", strict=True):
        assert {u[0] for u in fold.members("test")} == {session}
        assert len(fold.members("dev")) == 6 and len(fold.members("train")) == 26


def test_a_loss_that_is_not_finite_costs_a_rate_or_the_task(judged, told):
    classes = {u: i % 2 for i, (_, u) in enumerate(utterances())}
    signs = {u: [c] * 6 for u, c in classes.items()}
    rows = {u: (group, f"c{classes[u]}") for group, u in utterances()}
    tested = judged("ks", rows, signs, told(signs), rates=(1e30, 3e-2))
    assert tested.rate == 3e-2 and "with the rate 1e+30 the loss was not finite" in tested.notes
    with pytest.raises(ValueError, match="not finite with any of the rates"):
        judged("ks", rows, signs, told(signs), rates=(1e30,))


def test_the_rate_is_the_best_in_dev_and_seeds_give_the_same_again(judged, told):
    classes = {u: i % 3 for i, (_, u) in enumerate(utterances())}
    signs = {u: [c] * 6 for u, c in classes.items()}
    rows = {u: (group, f"c{classes[u]}") for group, u in utterances()}
    first, second = (
        judged("ks", rows, signs, told(signs), rates=(1e-9, 3e-2), seeds=(1, 2)) for _ in range(2)
    )
    assert first.rates[3e-2] > first.rates[1e-9] and first.rate == 3e-2
    assert np.array_equal(first.weights, second.weights)
    assert not np.array_equal(first.weights[0], first.weights[1])


def test_utterances_without_audio_are_noted_and_foreign_ones_refused(tmp_path, make_task, told):
    signs = {u: [0] * 6 for _, u in utterances()}
    rows = {u: (group, f"c{i % 2}") for i, (group, u) in enumerate(utterances())}
    task, data = make_task(rows, dict.fromkeys(rows, 6))
    task.write(tmp_path / "task")
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump({"ks": {**FAST, "steps": 1}}))
    kept = data.subset([u for u in rows if u != "test3"])
    tested = judge_task("ks", tmp_path / "task", kept, told(signs), config, [1])
    assert tested.notes[0] == "1 utterances were left out when audio was read: test3"
    assert len(tested.scores["accuracy"][0]) == 20
    task, other = make_task({"z": ("train", "c")}, {"z": 6})
    with pytest.raises(ValueError, match="1 utterances are in no set of the task: z"):
        judge_task("ks", tmp_path / "task", other, told(signs), config, [1])


def test_an_interrupted_run_goes_on_with_the_next_training(judged, told, tmp_path, monkeypatch):
    classes = {u: i % 3 for i, (_, u) in enumerate(utterances())}
    signs = {u: [c] * 6 for u, c in classes.items()}
    rows = {u: (group, f"c{classes[u]}") for group, u in utterances()}
    task = ("ks", rows, signs, told(signs))
    options = {"rates": (3e-2, 1e-3), "seeds": (1, 2)}
    whole = judged(*task, **options)
    original, done = training.train, []

    def dies(problem, features, values, rate, seed, *others):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append((rate, seed))
        return original(problem, features, values, rate, seed, *others)

    kept = tmp_path / "trainings"
    monkeypatch.setattr(training, "train", dies)
    with pytest.raises(KeyboardInterrupt):
        judged(*task, kept=kept, **options)
    done.clear()
    done.append("one more may run")
    again = judged(*task, kept=kept, **options)
    assert done[1:] == [(whole.rate, 2)]
    assert again.rates == whole.rates and np.array_equal(again.weights, whole.weights)
    assert scores(again) == scores(whole)
    done.clear()
    with pytest.raises(KeyboardInterrupt):  # another training has its own results
        judged(*task, kept=kept, steps=31, **options)
    assert done == [(3e-2, 1), (1e-3, 1)]


def test_a_set_of_which_ctc_can_write_nothing_is_refused(judged, told):
    """Without an utterance to draw, batches would be waited for without end."""
    signs = {u: [1] for _, u in utterances()}
    rows = {u: (group, "A B") for group, u in utterances()}
    with pytest.raises(ValueError, match="train has no utterance that can be .* 16 utterances are"):
        judged("pr", rows, signs, told(signs))


def test_one_class_alone_is_refused(judged, told):
    signs = {u: [1] * 6 for _, u in utterances()}
    rows = {u: (group, "yes") for group, u in utterances()}
    with pytest.raises(ValueError, match="two classes or more expected in train, got 'yes' alone"):
        judged("ks", rows, signs, told(signs))


def test_one_speaker_alone_is_refused(judged, told):
    signs = {u: [1] * 20 for _, u in utterances()}
    rows = {u: (group, "ann") for group, u in utterances()}
    trials = [(same, f"{g}0", f"{g}{n}") for g in ("dev", "test") for n, same in ((1, 1), (2, 0))]
    with pytest.raises(ValueError, match="two speakers or more expected in train, got 'ann' alone"):
        judged("asv", rows, signs, told(signs), trials)


def test_queries_of_few_frames_are_noted(judged, told):
    signs = {f"d{n}": [1, 2, 3, 4, 5, 6, 7, n] for n in range(4)}
    rows = dict.fromkeys(signs, ("doc", "-"))
    for group in ("dev", "test"):
        for n, length in ((0, 6), (1, 4)):
            signs[f"{group}{n}"] = [1, 2, 3, 4, 5, 6][:length]
            rows[f"{group}{n}"] = (group, f"d{n}")
    notes = judged("qbe", rows, signs, told(signs)).notes
    assert "1 queries of test have less than 5 frames, and are not searched for: test1" in notes
