"""What is said in the corpora of commands: sentences with an intent, sentences with slots."""

from __future__ import annotations

import numpy as np

KEYWORDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")
OTHERS = ("bed", "bird", "cat", "dog", "happy", "house", "marvin", "sheila", "tree", "wow")
"""Words of Speech Commands that are no keywords."""
ROOMS = ("none", "kitchen", "bedroom", "washroom")
INTENTS = {
    ("activate", "lights"): ("turn on the lights", "switch the lights on", "lights on please"),
    ("deactivate", "lights"): ("turn off the lights", "switch the lights off", "kill the lights"),
    ("increase", "heat"): ("turn up the heat", "make it warmer", "it is too cold"),
    ("decrease", "heat"): ("turn down the heat", "make it cooler", "it is too hot"),
    ("bring", "newspaper"): ("bring me the newspaper", "get me the newspaper"),
    ("bring", "shoes"): ("bring me my shoes", "fetch my shoes please"),
    ("increase", "volume"): ("turn up the volume", "play it louder", "it is too quiet"),
    ("decrease", "volume"): ("turn down the volume", "play it softer", "it is too loud"),
}
"""Sentences of each (action, object); lights and heat are in a room or in none."""
_IN_ROOMS = ("lights", "heat")
_TEMPLATES = (
    ("PlayMusic", "play ARTIST on SERVICE"),
    ("PlayMusic", "play the song SONG by ARTIST"),
    ("AddToPlaylist", "add SONG to my PLAYLIST list"),
    ("GetWeather", "what is the weather in CITY TIME"),
    ("GetWeather", "will it rain in CITY TIME"),
    ("BookRestaurant", "book a table for NUMBER in CITY"),
    ("BookRestaurant", "find a FOOD restaurant in CITY for NUMBER people"),
    ("RateBook", "give the book SONG NUMBER stars"),
)
_VALUES = {
    "ARTIST": ("the river band", "martha green", "john carter", "lucy stone", "the old bells"),
    "SONG": ("silver morning", "long road home", "paper moon", "a quiet storm", "yellow birds"),
    "SERVICE": ("radio seven", "deezer", "pandora", "my phone"),
    "PLAYLIST": ("summer", "dinner", "running", "sleep"),
    "CITY": ("boston", "denver", "new york", "madison", "oakland", "salem"),
    "TIME": ("tomorrow", "tonight", "next week", "at noon"),
    "NUMBER": ("two", "three", "four", "five", "six"),
    "FOOD": ("greek", "thai", "french", "mexican"),
}


def draw_intent(number: int, rng: np.random.Generator) -> tuple[str, tuple[str, str, str]]:
    """A sentence and its (action, object, location); `number` goes through all intents by turns."""
    cases = [
        (action, thing, room)
        for action, thing in INTENTS
        for room in (ROOMS if thing in _IN_ROOMS else ROOMS[:1])
    ]
    action, thing, room = cases[number % len(cases)]
    sentences = INTENTS[action, thing]
    sentence = sentences[int(rng.integers(len(sentences)))]
    return (sentence if room == "none" else f"{sentence} in the {room}"), (action, thing, room)


def draw_slots(rng: np.random.Generator) -> tuple[list[str], list[str], str]:
    """Words, the slot of each (`O`: none), and the intent."""
    intent, template = _TEMPLATES[int(rng.integers(len(_TEMPLATES)))]
    words: list[str] = []
    slots: list[str] = []
    for word in template.split():
        values = _VALUES.get(word)
        said = values[int(rng.integers(len(values)))].split() if values else [word]
        words += said
        slots += [word.lower() if values else "O"] * len(said)
    return words, slots, intent
