"""Raw English to LibriSpeech's style."""

import pytest

from speechlm.data.text_normalize import (
    SentenceOptions,
    cut,
    expand,
    is_normal,
    sentences,
    split_sentences,
    to_words,
)


def normalize(text: str, **options) -> list[str]:
    return [s for s, reason in sentences(text, SentenceOptions(**options)) if not reason]


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("Mr. and Mrs. Bennet met Dr. Grant.", "MISTER AND MISSUS BENNET MET DOCTOR GRANT"),
        ("Messrs. Long & Co. paid.", "MESSIEURS LONG AND COMPANY PAID"),
        ("Near St. Paul's, in King St. he fell.", "NEAR SAINT PAUL'S IN KING STREET HE FELL"),
        ("the _Katrine's_ “fancied” ‘land’", "THE KATRINE'S FANCIED LAND"),
        ("'Tis the officers' mess, o' course.", "TIS THE OFFICERS MESS O COURSE"),
        ("It’s rock ’n’ roll", "IT'S ROCK N ROLL"),
        ("a well-known son-in-law--or so", "A WELL KNOWN SON IN LAW OR SO"),
        ("the Cæsar's œuvre, a naïve café ﬁne", "THE CAESAR'S OEUVRE A NAIVE CAFE FINE"),
        ("J. A. H. Hopkins of the N.C. & T. road", "J A H HOPKINS OF THE N C AND T ROAD"),
        ("apples, pears, etc., are sold", "APPLES PEARS ET CETERA ARE SOLD"),
        ("apples, &c., i.e. fruit", "APPLES ET CETERA THAT IS FRUIT"),
        ("He left[A] at dawn.{3}", "HE LEFT AT DAWN"),
        ("[Illustration: The lion.] They ran.", "THEY RAN"),
        ("No. 7 is Mr. X.", "NUMBER SEVEN IS MISTER X"),
        ("He said no. I went", "HE SAID NO I WENT"),
        ("cost 50% more at 5 p.m.", "COST FIFTY PER CENT MORE AT FIVE P M"),
        ("the ☺ is here ♪ la la ♪", "THE IS HERE LA LA"),
        ("the iPad™ is here", "THE IPAD IS HERE"),
    ],
)
def test_words(raw, expected):
    assert " ".join(normalize(raw)) == expected


def test_sentences_are_split_where_they_end():
    text = expand('"Why?" asked he. "Oh! Mr. Long has come." He left at 3. Then... Nothing!')
    assert [to_words(s) for s in split_sentences(text)] == [
        "WHY ASKED HE",
        "OH",
        "MISTER LONG HAS COME",
        "HE LEFT AT THREE",
        "THEN",
        "NOTHING",
    ]


def test_short_pieces_join_their_neighbours():
    assert normalize("Oh! Single, my dear. Yes!") == ["OH SINGLE MY DEAR YES"]
    assert list(sentences('"Bingley."', SentenceOptions())) == [("BINGLEY", "too short")]
    assert normalize('"Bingley."', min_words=1) == ["BINGLEY"]


def test_long_sentences_are_cut_at_the_strongest_pause_near_the_middle():
    text = "one two, three four; five six, seven eight: nine ten"
    halves = ["ONE TWO THREE FOUR", "FIVE SIX SEVEN EIGHT NINE TEN"]
    assert [to_words(p) for p in cut(text, 6, to_words)] == halves
    assert [to_words(p) for p in cut(text, 4, to_words)] == [
        halves[0],
        "FIVE SIX SEVEN EIGHT",
        "NINE TEN",
    ]
    assert cut(text, 10, to_words) == [text]
    long = " ".join(f"word{'s' * (i % 3)} and" for i in range(60)).replace("word", "Word")
    for piece in normalize(long, max_words=20):
        assert len(piece.split()) <= 20
    kept = " ".join(normalize(long, max_words=20)).split()
    assert kept == to_words(long).split()


def test_nothing_to_cut_at_is_reported():
    found = list(sentences("word " * 50, SentenceOptions(max_words=40)))
    assert [reason for _, reason in found] == ["too long"]


def test_other_scripts_are_reported():
    found = list(sentences("He wrote Привет on the wall. She read it.", SentenceOptions()))
    assert found[0][1] == "characters"
    assert found[1] == ("SHE READ IT", "")
    assert next(sentences("He wrote \U00020000 on it.", SentenceOptions()))[1] == "characters"


def test_everything_kept_is_in_the_format():
    noise = "".join(chr(c) for c in range(32, 0x250))
    for sentence, reason in sentences(f"Start {noise} end. A b c.", SentenceOptions(max_words=400)):
        assert reason or is_normal(sentence)
    assert is_normal("IT'S ME")
    for wrong in ("it's", "A  B", " A", "A1", "", "A\n"):
        assert not is_normal(wrong)


def test_options_are_checked():
    with pytest.raises(ValueError, match="got 5 and 4"):
        SentenceOptions(5, 4)
