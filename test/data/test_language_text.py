"""Text of other languages than English: letters and their case are kept, what has no sure reading
is left out and counted."""

import unicodedata

import pytest

from speechlm.data.language import ENGLISH, Language, chosen
from speechlm.data.language_text import is_normal, sentences, to_words, why_left_out
from speechlm.data.text_files import TextOptions, normalize_files
from speechlm.data.text_normalize import SentenceOptions

SPOKEN = [
    ("de", "Die Straße heißt „Übergasse“ – wirklich?", "die straße heißt übergasse wirklich"),
    ("de", "GROẞE STRAẞE", "große straße"),
    ("de", "Baden-Württemberg", "baden württemberg"),
    ("fr", "L’œuvre d'Hélène, ça va ?", "l'œuvre d'hélène ça va"),
    ("fr", "« Où est-ce qu’il naît ? » dit-elle.", "où est ce qu'il naît dit elle"),
    ("tr", "ISPARTA'DA IŞIK İYİ, diyarbakır", "ısparta'da ışık iyi diyarbakır"),
    ("az", "İLIQ", "ilıq"),
    ("pl", "Zażółć gęślą jaźń!", "zażółć gęślą jaźń"),
    ("el", "Ο ΔΡΌΜΟΣ ΤΗΣ ΌΛΓΑΣ", "ο δρόμος της όλγας"),
    ("el", "Τι κάνεις; Καλά.", "τι κάνεις καλά"),
    ("ru", "Ёжик, подъезд — МОЙ", "ёжик подъезд мой"),
    ("uk", "П’ять з'їздів", "п'ять з'їздів"),
    ("ca", "Col·lecció d’estiu", "col·lecció d'estiu"),
    ("it", "Un po’ d'acqua, perché no?", "un po d'acqua perché no"),
    ("es", "¿Qué pasó, señor Núñez?", "qué pasó señor núñez"),
    ("hi", "नमस्ते दुनिया।", "नमस्ते दुनिया"),
    ("fa", "می\u200cخواهم، بله", "می\u200cخواهم بله"),
    ("nl", "Ĳsland en ’s avonds", "ijsland en s avonds"),
    ("yo", "Ẹ kú àárọ̀", "ẹ kú àárọ̀"),
    ("de", "wo&shy;hin <i>auch</i>", "wohin auch"),
    ("de", "Das ist _wirklich_ *sehr* schön ~ ja", "das ist wirklich sehr schön ja"),
    ("ro", "Ştiinţă și țară", "ştiinţă și țară"),
    # what NFKC would make letters of: accents alone, trade marks, frames
    ("fr", "l´œuvre ¨et¨ l`eau", "l'œuvre et l'eau"),
    ("de", "Kaffee™ ☎\ufe0f\u20e3 ja ¸ so", "kaffee ja so"),
    ("ar", "مـــرحبا بكم", "مرحبا بكم"),
    ("uz", "o‘zbek tili", "o'zbek tili"),
    # a letter behind a combining mark ends a word
    ("hi", "यह किताब. उसने कहा", "यह किताब उसने कहा"),
    ("fr", "les cafe\u0301s. et", "les cafés et"),
]


@pytest.mark.parametrize(("code", "text", "words"), SPOKEN)
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_letters_are_kept_in_small_letters_and_one_form(code, text, words, form):
    language = Language(code)
    found = to_words(unicodedata.normalize(form, text), language)
    assert found == unicodedata.normalize("NFC", words)
    assert why_left_out(found, language) == ""
    assert to_words(found, language) == found and is_normal(found, language)


@pytest.mark.parametrize(
    ("code", "text", "why"),
    [
        ("de", "Es kostet 5 Euro", "number or sign without a sure reading"),
        ("de", "Größe, Äpfel & Öl", "number or sign without a sure reading"),
        ("de", "Er und/oder sie", "number or sign without a sure reading"),
        ("fr", "cent % de réussite", "number or sign without a sure reading"),
        ("hi", "मेरे पास ५ सेब", "number or sign without a sure reading"),
        ("de", "Kapitel Ⅳ ist", "number or sign without a sure reading"),
        ("de", "viele ㎞ weit", "number or sign without a sure reading"),
        ("de", "Tiere, z. B. Hunde", "letters with a full stop"),
        ("ru", "А. С. Пушкин писал", "letters with a full stop"),
        ("pl", "patrz www.przyklad.pl tutaj", "web address or file name"),
    ],
)
def test_what_has_no_sure_reading_is_left_out_with_its_reason(code, text, why):
    language = Language(code)
    assert why_left_out(to_words(text, language), language) == why


def test_letters_of_another_language_are_told_once_letters_are_known():
    german = Language("de", letters="enisratdhulcgmobwfkzpvüäößjyxq'")
    assert why_left_out(to_words("Die Straße", german), german) == ""
    assert why_left_out(to_words("Łódź ist schön", german), german) == "letters of another language"
    assert why_left_out(to_words("Москва ist groß", german), german) != ""


def test_a_paragraph_is_cut_at_its_ends_and_not_at_dates_and_abbreviations():
    text = (
        "Am 3. Mai kam er an. „Gut!“ rief Anna. Tiere, z. B. Hunde, bellen gern. Es ist schön hier."
    )
    found = list(sentences(text, SentenceOptions(2, 40), Language("de")))
    assert [words for words, why in found if not why] == ["gut rief anna", "es ist schön hier"]
    assert sorted(why for _, why in found if why) == [
        "letters with a full stop",
        "number or sign without a sure reading",
    ]


def test_sentences_of_indic_scripts_end_with_full_stops_as_well():
    found = list(sentences("यह किताब. उसने कहा कि हाँ।", SentenceOptions(2, 40), Language("hi")))
    assert found == [("यह किताब", ""), ("उसने कहा कि हाँ", "")]


def test_english_is_as_it_was():
    assert to_words("Mr. Smith's café, No. 3", ENGLISH) == "MISTER SMITH'S CAFE NUMBER THREE"
    assert list(sentences("It is 5 o'clock.", SentenceOptions(), ENGLISH)) == [
        ("IT IS FIVE O'CLOCK", "")
    ]


@pytest.mark.parametrize("code", ["zh-CN", "zh_TW", "ja", "th", "km", "yue"])
def test_languages_without_spaces_are_refused(code):
    with pytest.raises(ValueError, match=r"without spaces between words"):
        chosen(code)


def test_files_keep_letters_and_report_what_was_dropped(tmp_path):
    (tmp_path / "raw.txt").write_text(
        "Die Häuser stehen schief.\nEr zahlt 20 Mark.\nWir gehen heim. Der Fluß ist breit.\n"
    )
    options = TextOptions("lines", language=Language("de"))
    report = normalize_files([tmp_path / "raw.txt"], tmp_path / "out.txt", options)
    lines = (tmp_path / "out.txt").read_text(encoding="utf-8").splitlines()
    assert lines == ["die häuser stehen schief", "wir gehen heim", "der fluß ist breit"]
    assert report.dropped == {"number or sign without a sure reading": 1}
