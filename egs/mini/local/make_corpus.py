#!/usr/bin/env python3
"""Make a small corpus in LibriSpeech's layout with espeak-ng: no downloads, any size, any seed.

OUTPUT/{train-paired,train-unpaired,dev,test}/SPEAKER/CHAPTER/*.flac with .trans.txt,
OUTPUT/SPEAKERS.TXT, OUTPUT/text/unpaired.txt (one sentence a line). Voices and sentences of the
parts are disjoint, and no sentence of the text is spoken in any part. A share of the words never
occurs in train-paired, but does in the text and the other parts. The same options give the same
files, byte for byte, whatever --nj is.
"""

from __future__ import annotations

import functools
import logging
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from espeak import DIALECTS, RATE, Synthesizer, variants
from grammar import Grammar, lexemes

from speechlm.bin._cli import parser, run
from speechlm.conventions import SAMPLE_RATE
from speechlm.data.atomic import output_dir
from speechlm.data.audio import resample, write_flac
from speechlm.progress import progress

PARTS = ("train-paired", "train-unpaired", "dev", "test")
CHAPTER = 25  # utterances a chapter


@dataclass(frozen=True)
class Speaker:
    """A voice variant with a dialect, a rate (words a minute) and a pitch (0..99)."""

    number: int
    sex: str
    voice: str
    speed: float
    pitch: float


@dataclass(frozen=True)
class Utterance:
    """One file to make; `seed` fixes everything random about its sound."""

    part: str
    speaker: Speaker
    chapter: int
    number: int
    text: str
    seed: tuple[int, ...]

    @property
    def id(self) -> str:
        """SPEAKER-CHAPTER-NNNN."""
        return f"{self.speaker.number}-{self.chapter}-{self.number:04d}"

    @property
    def folder(self) -> Path:
        """Path of the chapter inside the corpus."""
        return Path(self.part, str(self.speaker.number), str(self.chapter))


@dataclass(frozen=True)
class Sound:
    """Ranges from which noise and level of an utterance are drawn."""

    min_snr: float
    max_snr: float


def make_sentences(sizes: dict[str, int], n_text: int, unseen_share: float, seed: int):
    """Sentences of each part, and of the text; all of them different."""
    held_back = lexemes(unseen_share, np.random.default_rng([seed, 0]))
    whole, reduced = Grammar(), Grammar(without=held_back)
    used: set[str] = set()
    sentences = {}
    for index, part in enumerate((*PARTS, "text")):
        rng = np.random.default_rng([seed, 1, index])
        grammar = reduced if part == "train-paired" else whole
        sentences[part] = _different(grammar, sizes.get(part, n_text), rng, used)
    return sentences


def _different(grammar: Grammar, n: int, rng: np.random.Generator, used: set[str]) -> list[str]:
    drawn: list[str] = []
    tries = 0
    while len(drawn) < n:
        sentence = grammar.sentence(rng)
        tries += 1
        if sentence not in used:
            used.add(sentence)
            drawn.append(sentence)
        elif tries > 100 * n + 1000:
            raise ValueError(f"the grammar does not give {n} different sentences; ask for fewer")
    return drawn


def make_speakers(counts: dict[str, int], seed: int) -> dict[str, list[Speaker]]:
    """Speakers of each part; a voice variant serves one part only, perhaps in several dialects."""
    rng = np.random.default_rng([seed, 2])
    found = variants()
    voices = [found[i] for i in rng.permutation(len(found))]
    if sum(counts.values()) > len(voices) * len(DIALECTS) or len(voices) < len(counts):
        raise ValueError(f"at most {len(voices)} voices in {len(DIALECTS)} dialects are there")
    speakers: dict[str, list[Speaker]] = {}
    first, number = 0, 1000
    bounds = np.cumsum([0, *counts.values()]) * (len(voices) - len(counts)) // sum(counts.values())
    for index, (part, n) in enumerate(counts.items()):
        last = int(bounds[index + 1]) + index + 1
        speakers[part] = []
        for i in range(n):
            variant, sex = voices[first + i % (last - first)]
            dialect = DIALECTS[(i // (last - first) + i) % len(DIALECTS)]
            number += 1
            speed, pitch = rng.uniform(140, 190), rng.uniform(30, 70)
            speakers[part].append(Speaker(number, sex, f"{dialect}+{variant}", speed, pitch))
        first = last
    return speakers


def plan(
    sentences: dict[str, list[str]], speakers: dict[str, list[Speaker]], seed: int
) -> list[Utterance]:
    """Give the sentences of each part to its speakers in turn."""
    utterances = []
    for index, part in enumerate(PARTS):
        for i, text in enumerate(sentences[part]):
            turn, who = divmod(i, len(speakers[part]))
            speaker = speakers[part][who]
            chapter = 10 * speaker.number + turn // CHAPTER
            utterances.append(
                Utterance(part, speaker, chapter, turn % CHAPTER, text, (seed, 3, index, i))
            )
    return utterances


def sound_of(utterance: Utterance, synthesizer: Synthesizer, sound: Sound) -> np.ndarray:
    """(S,) float32 at 16 kHz: silence around the speech, coloured noise, a level of its own."""
    rng = np.random.default_rng(utterance.seed)
    speaker = utterance.speaker
    speed = round(speaker.speed * rng.uniform(0.95, 1.05))
    pitch = round(speaker.pitch * rng.uniform(0.95, 1.05))
    seed = int(rng.integers(1, 2**31))
    samples = synthesizer.say(utterance.text.lower(), speaker.voice, speed, pitch, seed)
    speech = resample(samples.astype(np.float32) / 2**15, RATE, SAMPLE_RATE)
    before, after = rng.integers(SAMPLE_RATE // 10, SAMPLE_RATE // 3, size=2)
    power = float(np.mean(speech**2))
    speech = np.pad(speech, (int(before), int(after)))
    snr = rng.uniform(sound.min_snr, sound.max_snr)
    noisy = speech + np.sqrt(power / 10 ** (snr / 10)) * colored_noise(len(speech), rng)
    gain = 10 ** (rng.uniform(-30, -20) / 20) / np.sqrt(power)
    return (noisy * min(gain, 0.99 / np.abs(noisy).max())).astype(np.float32)


def colored_noise(n: int, rng: np.random.Generator) -> np.ndarray:
    """(n,) of unit power with a spectrum f ** -slope, slope drawn from 0 (white) to 2 (brown)."""
    size = 1 << (n - 1).bit_length()  # powers of two transform fast
    spectrum = np.fft.rfft(rng.standard_normal(size))
    frequency = np.maximum(np.fft.rfftfreq(size, 1 / SAMPLE_RATE), 50.0)
    noise = np.fft.irfft(spectrum * frequency ** (-rng.uniform(0, 2) / 2), size)[:n]
    return noise / np.sqrt(np.mean(noise**2))


@functools.cache
def _synthesizer() -> Synthesizer:
    return Synthesizer()


def _make_one(utterance: Utterance, folder: Path, sound: Sound) -> float:
    """Write one file; returns its length in seconds."""
    waveform = sound_of(utterance, _synthesizer(), sound)
    path = folder / utterance.folder / f"{utterance.id}.flac"
    write_flac(path, waveform, SAMPLE_RATE)
    return len(waveform) / SAMPLE_RATE


def write_corpus(folder: Path, utterances: list[Utterance], sound: Sound, nj: int) -> list[float]:
    """Write audio, transcripts and SPEAKERS.TXT; returns the utterances' lengths in seconds."""
    transcripts: dict[Path, list[str]] = {}
    for u in utterances:
        name = u.folder / f"{u.speaker.number}-{u.chapter}.trans.txt"
        transcripts.setdefault(name, []).append(f"{u.id} {u.text}\n")
    for name, lines in transcripts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("".join(sorted(lines)), encoding="utf-8")
    work = functools.partial(_make_one, folder=folder, sound=sound)
    if nj <= 1:
        seconds = [work(u) for u in utterances]
    else:
        with ProcessPoolExecutor(nj) as pool:
            made = pool.map(work, utterances, chunksize=8)
            seconds = list(progress(made, "recordings", len(utterances)))
    minutes: dict[tuple[Speaker, str], float] = {}
    for u, length in zip(utterances, seconds, strict=True):
        key = (u.speaker, u.part)
        minutes[key] = minutes.get(key, 0.0) + length / 60
    with (folder / "SPEAKERS.TXT").open("w", encoding="utf-8") as file:
        file.write(";ID  |SEX| SUBSET           |MINUTES| NAME\n")
        for (speaker, part), length in minutes.items():
            file.write(
                f"{speaker.number:<4} | {speaker.sex} | {part:<16} | {length:5.2f} |"
                f" espeak-ng {speaker.voice}\n"
            )
    return seconds


def describe(utterances: list[Utterance], seconds: list[float], text: list[str]) -> str:
    """Hours, speakers and words of the parts; words of the test set that train-paired lacks."""
    lines, words = [], {}
    for part in PARTS:
        mine = [(u, s) for u, s in zip(utterances, seconds, strict=True) if u.part == part]
        words[part] = [word for u, _ in mine for word in u.text.split()]
        length = sum(s for _, s in mine)
        lines.append(
            f"{part:<15} {len(mine):6} utterances {length / 3600:7.3f} h"
            f" {length / len(mine):6.2f} s each {len({u.speaker for u, _ in mine}):4} speakers"
            f" {len(set(words[part])):6} different words"
        )
    in_text = {word for sentence in text for word in sentence.split()}
    seen = set(words["train-paired"])
    test = words["test"]
    unseen = [word for word in test if word not in seen]
    lines.append(f"{'text':<15} {len(text):6} sentences, {len(in_text)} different words")
    lines.append(
        f"of the words of the text {len(in_text - seen) / len(in_text):.1%} are not in"
        f" train-paired; of the test set {len(unseen) / len(test):.1%} of the words"
        f" ({len(set(unseen))} different), {len(set(unseen) & in_text)} of them in the text"
    )
    return "\n".join(lines)


def main() -> None:
    """Make the corpus and describe it."""
    options = parser(__doc__)
    options.add_argument("--output", required=True, help="folder to make")
    options.add_argument("--paired", type=int, default=300, help="utterances of train-paired")
    options.add_argument("--unpaired", type=int, default=1500, help="utterances of train-unpaired")
    options.add_argument("--dev", type=int, default=100, help="utterances of dev")
    options.add_argument("--test", type=int, default=200, help="utterances of test")
    options.add_argument("--text", type=int, default=20000, help="sentences of text/unpaired.txt")
    options.add_argument("--speakers", type=int, nargs=4, default=(20, 60, 10, 20), metavar="N")
    options.add_argument("--unseen_share", type=float, default=0.45, help="held from train-paired")
    options.add_argument("--min_snr", type=float, default=10.0, help="dB, the noisiest")
    options.add_argument("--max_snr", type=float, default=35.0, help="dB, the cleanest")
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--nj", type=int, default=2, help="processes")
    args = options.parse_args()
    sizes = dict(zip(PARTS, (args.paired, args.unpaired, args.dev, args.test), strict=True))
    if min(*sizes.values(), *args.speakers, args.text) < 1:
        raise ValueError("every part, its number of speakers and the text must be at least 1")
    if not 0 <= args.unseen_share < 1 or args.min_snr > args.max_snr:
        raise ValueError("0 <= unseen_share < 1 and min_snr <= max_snr expected")
    sentences = make_sentences(sizes, args.text, args.unseen_share, args.seed)
    counts = {p: min(n, sizes[p]) for p, n in zip(PARTS, args.speakers, strict=True)}
    utterances = plan(sentences, make_speakers(counts, args.seed), args.seed)
    with output_dir(args.output) as folder:
        seconds = write_corpus(folder, utterances, Sound(args.min_snr, args.max_snr), args.nj)
        (folder / "text").mkdir()
        text = "".join(f"{sentence}\n" for sentence in sentences["text"])
        (folder / "text" / "unpaired.txt").write_text(text, encoding="utf-8")
    logging.info("%s\n%s", args.output, describe(utterances, seconds, sentences["text"]))


if __name__ == "__main__":
    run(main)
