"""Pronunciations of words in any language of espeak-ng, as phones of the IPA.

The library is that of the wheel espeakng-loader. A word is said alone: what its neighbours change
(French liaison) is not in it. A word of one letter is said in front of another one, where it is no
name of a letter (Polish `z`, Russian `в`). A phone is what espeak-ng takes for one, so that
affricates and diphthongs (`ts`, `aɪ`) are single phones. A length mark is part of its phone (`a`
and `aː` tell German words apart); marks of stress are left out, as they follow from rules in most
languages and would multiply the phones; so are digits, by which espeak-ng writes tones.
"""

from __future__ import annotations

import ctypes
import importlib
import re
import unicodedata
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from speechlm.data.lexicon import Phones
from speechlm.data.written import base_language

LENGTH = "ː"
_SYNCHRONOUS, _NO_EXIT, _UTF8 = 2, 0x8000, 1
_SEPARATOR = "_"
_IPA = 0x02 | ord(_SEPARATOR) << 8  # IPA, with this character between phones
_FOLLOWING = {"LATIN": "mama", "CYRILLIC": "мама", "GREEK": "μαμά"}
"""What stands behind a word of one letter, by its script."""
_OTHER_LANGUAGE = re.compile(r"\([a-z-]+\)")
_IPA_OF = str.maketrans({":": LENGTH, "#": "\u0325", "[": "\u032a", "`": "ʼ"})
"""IPA for espeak-ng's own names of phones, which some languages have: Icelandic `l#` is voiceless.
"""
_NO_PHONE = re.compile(r"[ˈˌˑ'\-,.|‖ \u200d\u0361\d]+|\^")


class _Voice(ctypes.Structure):
    """`espeak_VOICE` of espeak-ng's speak_lib.h."""

    _fields_ = [
        ("name", ctypes.c_char_p),
        ("languages", ctypes.c_char_p),  # pairs of a priority (a byte) and a code that ends in 0
        ("identifier", ctypes.c_char_p),
        ("gender", ctypes.c_ubyte),
        ("age", ctypes.c_ubyte),
        ("variant", ctypes.c_ubyte),
        ("unused", ctypes.c_ubyte),
        ("score", ctypes.c_int),
        ("spare", ctypes.c_void_p),
    ]


class Espeak:
    """Says words of a language. The library has one state a process: one language at a time.

    Args:
        code: of the language, such as `de`, `fr` or `pt-BR`. Where espeak-ng knows no such
            region, or none was named, its first voice of the language says them.

    Raises:
        ValueError: the wheel is missing, or espeak-ng does not know the language, or only by name.
    """

    def __init__(self, code: str) -> None:
        self._library = _library()
        voices = _voices(self._library)
        wanted = code.lower().replace("_", "-")
        base = base_language(code)
        names = [wanted, base, *sorted(name for name in voices if name.startswith(f"{base}-"))]
        self.voice = next((name for name in names if name in voices), "")
        if not self.voice:
            raise ValueError(
                f"espeak-ng has no voice for the language {code!r}; it has"
                f" {' '.join(sorted(voices))}. Another way is a pronouncing lexicon of every word"
                " (--lexicon)"
            )
        loaded = not self._library.espeak_SetVoiceByName(voices[self.voice].encode())
        if not loaded or not (self._phones("1") or _has_dictionary(self.voice)):
            raise ValueError(
                f"espeak-ng has a voice for {code!r} ({voices[self.voice]}), but not what it needs"
                " to speak; another way is a pronouncing lexicon of every word (--lexicon)"
            )

    def __call__(self, words: Sequence[str]) -> list[Phones]:
        """Phones of each word; none of a word that is said by the rules of another language."""
        return [self._say(word) for word in words]

    def _say(self, word: str) -> Phones:
        following = _FOLLOWING.get(unicodedata.name(word[0], "").split(" ")[0])
        if len(word) == 1 and following:
            both, behind = self._phones(f"{word} {following}"), self._phones(following)
            if len(both) > len(behind) and both[-len(behind) :] == behind:
                return both[: -len(behind)]
        return self._phones(word)

    def _phones(self, text: str) -> Phones:
        place = ctypes.c_char_p(text.encode())
        said = []
        while place.value is not None:
            part = self._library.espeak_TextToPhonemes(ctypes.byref(place), _UTF8, _IPA)
            said.append(part.decode())
        whole = _SEPARATOR.join(said)
        return () if _OTHER_LANGUAGE.search(whole) else phones_of(whole)


def phones_of(said: str) -> Phones:
    """Phones of espeak-ng's writing: `ʃ_t_ˈɑː_t` -> `ʃ t ɑː t`."""
    said = unicodedata.normalize("NFC", said.translate(_IPA_OF).replace(" ", _SEPARATOR))
    parts = (_NO_PHONE.sub("", part) for part in said.split(_SEPARATOR))
    return tuple(part for part in parts if part and part != LENGTH)


def fit(phones: Phones, known: Collection[str]) -> Phones:
    """Phones of a word as those of an inventory; none if one of them has no place in it.

    A phone that is not in it gives way to that without length mark, then to that without
    diacritics, then to the phones that it is made of (`pf` -> `p f`).

    Args:
        phones: of the word.
        known: the inventory.
    """
    found: list[str] = []
    for phone in phones:
        simpler = next((p for p in _simpler(phone) if all(part in known for part in p)), ())
        if not simpler:
            return ()
        found += simpler
    return tuple(found)


def _simpler(phone: str) -> list[Phones]:
    """A phone, that without its length, that without diacritics, and its parts."""
    short = phone.replace(LENGTH, "")
    plain = "".join(
        c
        for c in unicodedata.normalize("NFD", short)
        if not unicodedata.combining(c) and unicodedata.category(c) != "Lm"
    )
    return [(phone,), (short,), (plain,), tuple(plain)]


def _library() -> Any:
    try:
        loader = importlib.import_module("espeakng_loader")
    except ImportError:
        raise ValueError(
            "pronunciations of languages other than English need espeak-ng: "
            "pip install espeakng-loader"
        ) from None
    library = ctypes.CDLL(loader.get_library_path())
    library.espeak_TextToPhonemes.restype = ctypes.c_char_p
    library.espeak_TextToPhonemes.argtypes = [
        ctypes.POINTER(ctypes.c_char_p),
        ctypes.c_int,
        ctypes.c_int,
    ]
    library.espeak_ListVoices.restype = ctypes.POINTER(ctypes.POINTER(_Voice))
    data = loader.get_data_path().encode()
    if library.espeak_Initialize(_SYNCHRONOUS, 0, data, _NO_EXIT) <= 0:
        raise ValueError(f"espeak-ng could not read its data in {data.decode()}")
    return library


def _has_dictionary(voice: str) -> bool:
    """Whether its file is there; a voice without one is loaded as well, but says nothing."""
    folder = Path(importlib.import_module("espeakng_loader").get_data_path())
    return any((folder / f"{name}_dict").is_file() for name in (voice, base_language(voice)))


def _voices(library: Any) -> dict[str, str]:
    """Identifier of the voice of each language code."""
    listed, number = library.espeak_ListVoices(None), 0
    found: dict[str, str] = {}
    while listed[number]:
        voice = listed[number].contents
        code = voice.languages[1:].decode("utf-8", "replace").lower()
        found.setdefault(code, voice.identifier.decode())
        number += 1
    return found
