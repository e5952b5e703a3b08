"""Marks by which translators asked that a sentence be removed from CoVoST: `[TO REMOVE]`.

The published tables still have them in place of translations (8 of 10,000 from German into
English), in several spellings: `[TO REMOVE]`, `[REMOVE]`, `TO REMOVE`, `[to be removed]`,
`[TO REMMOVE]`. Sentences that only have the word, such as `Please remove your hat`, are none.
"""

from __future__ import annotations

import re
import unicodedata

_BRACKETED = re.compile(r"[\[(<{【「『〈《*_#]+(.*?)[\])>}】」』〉》*_#]+")
_CAPITALS = re.compile(
    r"\bTO (?:BE )?\w{5,9}\b"  # anywhere in a sentence that is not in capitals,
    r"|^\W*[A-Z]{5,9}\b"  # at its beginning,
    r"|(?<=[.!?…:;/|–—-])\s*[A-Z]{5,9}\W*$"  # or behind its end
)
_REQUEST = re.compile(r"\W*(?:to|please|must|should|remove|delete)\b", re.IGNORECASE)
_AROUND = re.compile(
    r"to|be|for|from|please|must|should|marked|this|that|it|the|a|sentence|line|row|clip|corpus"
    r"|translation|dataset"
)
"""Words that may stand beside `remove` in a mark."""
_OTHER_LANGUAGES = re.compile(
    r"entfernen|löschen|streichen|supprimer|retirer|eliminar|suprimir|borrar|quitar|esborrar|treure"
    r"|eliminare|rimuovere|cancellare|remover|apagar|excluir|verwijderen|bort|usunąć|удалить|убрать"
    r"|kaldır|kaldırılacak|sil|silinecek|hapus|buang|dileu|tynnu|eemalda|kustuta|noņemt|dzēst"
    r"|odstrani|odstraniti|izbriši|устгах|арилгах|إزالة|ازالة|حذف|删除|刪除|移除|削除|除去|삭제|제거"
)
"""`Remove` in the languages of the corpus; a mark only where a sentence is that alone, in brackets
or capitals."""
_AROUND_OTHERS = re.compile(r"zu|bitte|à|da|per|ta|för|att")


def is_marked_for_removal(translation: str, source: str = "") -> bool:
    """Whether a translation is, or has, a mark that asks for the sentence's removal.

    Args:
        translation: as the table has it.
        source: the sentence that was translated, if known. It tells the mark from a translation of
            one or two words (`Remove!` for `Entfernen!`).
    """
    text = " ".join(unicodedata.normalize("NFKC", translation).split())
    for found in _BRACKETED.finditer(text):
        before, inside, after = text[: found.start()], found[1], text[found.end() :]
        if not re.search(r"\w", before + after):
            if _is_mark(inside) or _is_foreign_mark(inside):
                return True
        elif _is_mark(inside):
            at_an_end = not before.strip() or not re.search(r"\w", after)
            if inside.isupper() or (at_an_end and _REQUEST.match(inside)):
                return True
    if _is_mark(text):
        return _stands_for_nothing(text, source)
    if text.isupper() and _is_foreign_mark(text):
        return True
    return any(
        found[0].isupper()
        and _is_mark(found[0])
        and not (text[: found.start()] + text[found.end() :]).isupper()
        for found in _CAPITALS.finditer(text)
    )


def _stands_for_nothing(text: str, source: str) -> bool:
    """Whether a sentence of such words alone is a mark, and not the translation of a request."""
    words = _words(text)
    if text.isupper() or words[:-1] in (["to"], ["to", "be"]):
        return True
    plain = text == text.lower() and text[-1].isalpha()  # no sentence is written so
    return len(words) == 1 and (plain or len(source.split()) > 2)


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", text.casefold())


def _is_mark(text: str) -> bool:
    """Whether words say `remove`, and nothing beside what belongs to that."""
    rest = [word for word in _words(text) if not _AROUND.fullmatch(word)]
    return bool(rest) and all(map(_is_remove, rest))


def _is_foreign_mark(text: str) -> bool:
    """The same in other languages."""
    rest = [word for word in _words(text) if not _AROUND_OTHERS.fullmatch(word)]
    return bool(rest) and all(map(_OTHER_LANGUAGES.fullmatch, rest))


def _is_remove(word: str) -> bool:
    """`remove` or `removed`, also with letters doubled, swapped, or one left out."""
    if word in ("removal", "delete", "deleted"):
        return True
    word = word.removeprefix("to").removeprefix("be")
    letters = set(word)
    complete = len(set("remove") - letters) <= 1 and not letters - set("removed")
    return complete and word.startswith(("re", "rm")) and 5 <= len(word) <= 9
