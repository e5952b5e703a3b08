import pytest

from speechlm.data.lexicon import Lexicon
from speechlm.tokenizers.covering_lexicon import choose_words, count_words, cover
from speechlm.tokenizers.g2p import GUESSES


@pytest.fixture
def texts(tmp_path):
    (tmp_path / "text").write_text("utt-1 HELLO BRILLIG WORLD\nutt-2 HELLO\n")
    (tmp_path / "novel.txt").write_text("THE WORLD\n\nTHE END OF THE WORLD\n")
    return [tmp_path / "text", tmp_path / "novel.txt"]


def test_count_and_choose(texts):
    assert count_words(texts) == {
        **{"HELLO": 2, "BRILLIG": 1, "WORLD": 3},
        **{"THE": 3, "END": 1, "OF": 1},
    }
    assert choose_words(texts) == ["THE", "WORLD", "HELLO", "BRILLIG", "END", "OF"]
    assert choose_words(texts, 4) == ["THE", "WORLD", "HELLO", "BRILLIG"]
    with pytest.raises(ValueError, match="-1 words at most"):
        choose_words(texts, -1)
    assert choose_words(texts, 1) == ["WORLD", "HELLO", "BRILLIG"]


def test_unusable_words_are_listed_with_their_place(texts):
    texts[1].write_text("GOOD\nBAD 12 WORDS\nCAF\u00c9 12\n")
    with pytest.raises(ValueError) as error:
        count_words(texts)
    assert "novel.txt:2: '12'" in str(error.value) and "novel.txt:3: 'CAF\u00c9'" in str(
        error.value
    )
    texts[1].write_text("\n")
    with pytest.raises(ValueError, match="novel.txt: no words"):
        count_words(texts)


def test_given_lexicon_goes_first(texts):
    given = Lexicon({"WORLD": [("W", "ER2")], "UNUSED": [("AH0",)]}, "mine")
    made = cover(count_words(texts), given)
    assert made.lexicon.entries["WORLD"] == [("W", "ER2")]
    assert made.sources == {"mine": 1, "CMUdict": 4, "network": 1}
    assert made.predicted == {"BRILLIG": "network"} and "UNUSED" not in made.lexicon


def test_program(run_main, texts, tmp_path):
    words = ("--text", *texts, "--output")
    done = run_main("make_lexicon", *words, tmp_path / "lex")
    assert "6 words: CMUdict 5, network 1" in done.stderr and not done.stdout
    assert (tmp_path / "lex/words.txt").read_text().split() == sorted(count_words(texts))
    assert (tmp_path / "lex/predicted.txt").read_text() == "BRILLIG network B R IH1 L IH0 G\n"
    assert len(Lexicon.read(tmp_path / "lex/lexicon.txt")) == 6
    (tmp_path / "text").write_text("u 1%\n")
    done = run_main("make_lexicon", *words, tmp_path / "x")
    assert done.returncode == 1 and "1%" in done.stderr and "Traceback" not in done.stderr


def test_guessed_words_are_not_among_the_known(texts, tmp_path):
    (tmp_path / "text").write_text("u BRILLIG BRILLIG'S WORLDLY WORLD XQZ\n")
    made = cover(count_words([tmp_path / "text"]), None)
    assert {w for w, how in made.predicted.items() if how.startswith(GUESSES)} == {
        *("BRILLIG", "BRILLIG'S", "XQZ")
    }
    made.write(tmp_path / "lex")
    assert set(Lexicon.read(tmp_path / "lex/known.txt")) == {"WORLD", "WORLDLY"}
    assert len(Lexicon.read(tmp_path / "lex/lexicon.txt")) == 5
