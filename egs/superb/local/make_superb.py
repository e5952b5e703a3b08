#!/usr/bin/env python3
"""Make small corpora for the tasks of SUPERB with espeak-ng, each in its published layout.

OUTPUT/LibriSpeech, speech_commands, fluent_speech_commands_dataset, VoxCeleb1, quesst14Database,
audio_snips and Libri2Mix, as speechlm.bin.prepare_superb reads them. Voices of training, dev and
test are disjoint, but in speaker identification. Emotions are not made: no synthesizer has them.
The same options give the same samples, whatever --nj is.
"""

from __future__ import annotations

import functools
import itertools
import logging
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile
from commands import KEYWORDS, OTHERS, draw_intent, draw_slots

from speechlm.bin._cli import at_least, parser, run
from speechlm.conventions import SAMPLE_RATE
from speechlm.data import snips
from speechlm.data.atomic import output_dir
from speechlm.data.audio import write_flac
from speechlm.data.speech_commands import set_of
from speechlm.data.task_data import DEV, TEST, TRAIN
from speechlm.progress import progress

sys.path.append(str(Path(__file__).resolve().parents[2] / "mini" / "local"))
from espeak import Synthesizer
from grammar import Grammar
from make_corpus import Sound, Speaker, Utterance, colored_noise, make_speakers, sound_of

SOUND = Sound(min_snr=10.0, max_snr=30.0)
CLEAN = Sound(min_snr=60.0, max_snr=60.0)
"""Of the sources of mixtures, by whose energy their turns are found."""
SETS = (TRAIN, DEV, TEST)
SPEAKERS = {TRAIN: 24, DEV: 8, TEST: 12}
SENTENCES = {TRAIN: 160, DEV: 40, TEST: 60}
"""Of LibriSpeech."""
COMMANDS = {TRAIN: 200, DEV: 60, TEST: 80}
"""Of Fluent Speech Commands, and of SNIPS."""
MIXTURES = {TRAIN: 80, DEV: 25, TEST: 40}
IDENTIFIED, VERIFIED = 20, 6
"""Speakers of VoxCeleb1 for identification, and further ones whose trials are the test."""
VIDEOS = {1: 6, 2: 2, 3: 3}
"""Utterances of a speaker by code of the set."""
TRIALS = 300
DOCUMENTS, QUERIES = 100, {"dev": 40, "eval": 60}


@dataclass(frozen=True)
class Item:
    """A file to make: an utterance, noise alone, or two utterances at once."""

    path: Path
    said: tuple[tuple[str, Speaker], ...]
    seed: tuple[int, ...]


@dataclass
class Plan:
    """Files to make, and tables to write."""

    seed: int
    scale: float
    voices: dict[str, list[Speaker]]
    items: list[Item] = field(default_factory=list)
    tables: dict[Path, list[str]] = field(default_factory=dict)

    def add(self, path: Path, *said: tuple[str, Speaker]) -> None:
        """A file, with random numbers of its own."""
        self.items.append(Item(path, said, (self.seed, 9, len(self.items))))

    def line(self, path: Path, text: str) -> None:
        """A line of a table."""
        self.tables.setdefault(path, []).append(f"{text}\n")

    def count(self, number: int) -> int:
        """A size, scaled."""
        return max(2, round(self.scale * number))

    def rng(self, stream: int) -> np.random.Generator:
        """Random numbers of a corpus."""
        return np.random.default_rng([self.seed, 8, stream])

    def turns(self, group: str) -> Iterator[Speaker]:
        """The speakers of a set, again and again."""
        return itertools.cycle(self.voices[group])


def plan_librispeech(plan: Plan) -> None:
    """Sentences of the grammar."""
    rng, grammar = plan.rng(1), Grammar()
    parts = {TRAIN: "train-clean-100", DEV: "dev-clean", TEST: "test-clean"}
    for group, part in parts.items():
        for n, who in zip(range(plan.count(SENTENCES[group])), plan.turns(group), strict=False):
            chapter = f"{who.number}/{10 * who.number}"
            name, text = f"{who.number}-{10 * who.number}-{n:04d}", grammar.sentence(rng)
            folder = Path("LibriSpeech", part, chapter)
            plan.line(folder / f"{who.number}-{10 * who.number}.trans.txt", f"{name} {text}")
            plan.add(folder / f"{name}.flac", (text, who))


def plan_commands(plan: Plan) -> None:
    """Single words and noise; the hash of a speaker's name must give its set."""
    rng, root = plan.rng(2), Path("speech_commands")
    training = root / "speech_commands_v0.01"
    names = (f"{n:08x}" for n in itertools.count(1))
    for group in (TRAIN, DEV):
        for who in plan.voices[group][: plan.count(len(plan.voices[group]))]:
            name = next(name for name in names if set_of(name) == group)
            for word in (*KEYWORDS, *rng.choice(OTHERS, 3, replace=False)):
                plan.add(training / word / f"{name}_nohash_0.wav", (word, who))
    for n in range(plan.count(16)):
        plan.add(training / "_background_noise_" / f"noise_{n}.wav")
    testing = root / "speech_commands_test_set_v0.01"
    for n, who in enumerate(plan.voices[TEST][: plan.count(len(plan.voices[TEST]))]):
        for word in (*KEYWORDS, *rng.choice(OTHERS, 2, replace=False)):
            label = word if word in KEYWORDS else "_unknown_"
            plan.add(testing / label / f"t{n:07x}_nohash_{word}.wav", (word, who))
        plan.add(testing / "_silence_" / f"{n}.wav")


def plan_intents(plan: Plan) -> None:
    """Sentences with an intent."""
    rng, root = plan.rng(3), Path("fluent_speech_commands_dataset")
    head = ["", "path", "speakerId", "transcription", "action", "object", "location"]
    for group, name in {TRAIN: "train", DEV: "valid", TEST: "test"}.items():
        table = root / "data" / f"{name}_data.csv"
        plan.line(table, ",".join(head))
        for n, who in zip(range(plan.count(COMMANDS[group])), plan.turns(group), strict=False):
            text, intent = draw_intent(n, rng)
            place = Path("wavs", "speakers", f"s{who.number}", f"{name}{n:04d}.wav")
            plan.line(table, ",".join([str(n), str(place), f"s{who.number}", text, *intent]))
            plan.add(root / place, (text, who))


def plan_speakers(plan: Plan) -> None:
    """Sentences of speakers in several videos; trials of speakers that are not trained on."""
    rng, grammar, root = plan.rng(4), Grammar(), Path("VoxCeleb1")
    known = [(10001 + n, who) for n, who in enumerate(plan.voices[TRAIN][:IDENTIFIED])]
    tested = [(10270 + n, who) for n, who in enumerate(plan.voices[TEST][:VERIFIED])]
    for number, who in known + tested:
        half = "dev" if number < 10270 else "test"
        for code, size in VIDEOS.items():
            for n in range(plan.count(size)):
                name = f"id{number}/video{code}/{n:05d}.wav"
                plan.line(root / "iden_split.txt", f"{code} {name}")
                plan.add(root / half / "wav" / name, (grammar.sentence(rng), who))
    names = [line.split()[1] for line in plan.tables[root / "iden_split.txt"] if " id1027" in line]
    pairs = [*itertools.combinations(names, 2)]
    alike = [p for p in pairs if p[0][:7] == p[1][:7]]
    others = [p for p in pairs if p[0][:7] != p[1][:7]]
    for same, kind in ((1, alike), (0, others)):
        for i in rng.permutation(len(kind))[: TRIALS // 2]:
            plan.line(root / "veri_test2.txt", f"{same} {' '.join(kind[i])}")


def plan_queries(plan: Plan) -> None:
    """Documents, and pairs of neighbouring words in them, said by others."""
    rng, grammar, root = plan.rng(5), Grammar(), Path("quesst14Database")
    sentences = [grammar.sentence(rng).split() for _ in range(plan.count(DOCUMENTS))]
    for n, (words, who) in enumerate(zip(sentences, plan.turns(TRAIN), strict=False)):
        name = f"Audio/quesst14_{n:05d}.wav"
        plan.line(root / "scoring/language_key_utterances.lst", f"{root}/{name} nnenglish")
        plan.add(root / name, (" ".join(words), who))
    spoken = {
        pair: [n for n, words in enumerate(sentences) if pair in itertools.pairwise(words)]
        for words in sentences
        for pair in itertools.pairwise(words)
        if sum(map(len, pair)) >= 10  # shorter ones are hard to tell from others
    }
    drawn = iter([[*spoken][i] for i in rng.permutation(len(spoken))])
    for part, voices in {"dev": plan.turns(DEV), "eval": plan.turns(TEST)}.items():
        truth = root / "scoring" / f"groundtruth_quesst14_{part}" / f"quesst14_{part}.rttm"
        for n, pair, who in zip(range(plan.count(QUERIES[part])), drawn, voices, strict=False):
            name = f"quesst14_{part}_{n:04d}"
            place = f"{part}_queries/{name}.wav"
            plan.line(root / f"scoring/language_key_{part}.lst", f"{root}/{place} nnenglish")
            plan.add(root / place, (" ".join(pair), who))
            for document in spoken[pair]:
                plan.line(truth, f"LEXEME quesst14_{document:05d} 1 0.0 1.0 {name} lex <NA> <NA>")


def plan_slots(plan: Plan) -> None:
    """Sentences with slots; voices have the names of SNIPS' speakers."""
    rng, root = plan.rng(6), Path("audio_snips")
    for group, folder in snips.FOLDERS.items():
        named = zip(snips.SPEAKERS[group], plan.voices[group], strict=False)
        turns = itertools.cycle(named)
        for n, (name, who) in zip(range(plan.count(COMMANDS[group])), turns, strict=False):
            words, slots, intent = draw_slots(rng)
            utterance = f"{name}-snips-{folder}-{n}"
            line = f"{utterance} BOS {' '.join(words).upper()} EOS\tO {' '.join(slots)} {intent}"
            plan.line(root / snips.TEXT, line)
            plan.add(root / folder / f"{utterance}.wav", (" ".join(words), who))


def plan_mixtures(plan: Plan) -> None:
    """Two sentences by two speakers, the second of which begins later."""
    rng, grammar = plan.rng(7), Grammar()
    for group, part in {TRAIN: "train-100", DEV: "dev", TEST: "test"}.items():
        folder = Path("Libri2Mix", "wav16k", "max", part)
        for n in range(plan.count(MIXTURES[group])):
            voices = plan.voices[group]
            two = [voices[i] for i in rng.choice(len(voices), 2, replace=False)]
            name = "_".join(f"{who.number}-{n}-{i:04d}" for i, who in enumerate(two))
            said = [(grammar.sentence(rng), who) for who in two]
            plan.add(folder / "mix_both" / f"{name}.wav", *said)


PLANS = (
    plan_librispeech,
    plan_commands,
    plan_intents,
    plan_speakers,
    plan_queries,
    plan_slots,
    plan_mixtures,
)


@functools.cache
def _synthesizer() -> Synthesizer:
    return Synthesizer()


def make(item: Item, folder: Path) -> float:
    """Write an item; returns its seconds."""
    path = folder / item.path
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(item.seed)
    sound = SOUND if len(item.said) < 2 else CLEAN
    sounds = [
        sound_of(Utterance("", who, 0, 0, text, (*item.seed, n)), _synthesizer(), sound)
        for n, (text, who) in enumerate(item.said)
    ]
    if not sounds:
        wave = 0.01 * colored_noise(int(rng.uniform(0.8, 1.2) * SAMPLE_RATE), rng)
    elif len(sounds) == 1:
        wave = sounds[0]
    else:
        wave = _mix(path, sounds, rng)
    if path.suffix == ".flac":
        write_flac(path, wave.astype(np.float32), SAMPLE_RATE)
    else:
        soundfile.write(path, wave, SAMPLE_RATE)
    return len(wave) / SAMPLE_RATE


def _mix(path: Path, sounds: list[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """The second sound begins within the first or shortly after it; s1 and s2 have no noise."""
    late = int(rng.uniform(0.3, 1.1) * len(sounds[0]))
    size = max(len(sounds[0]), late + len(sounds[1]))
    sources = [np.pad(s, (b, size - b - len(s))) for s, b in zip(sounds, (0, late), strict=True)]
    peak = max(1.0, float(np.abs(sources[0] + sources[1]).max()) / 0.99)
    for n, source in enumerate(sources, 1):
        place = path.parent.parent / f"s{n}" / path.name
        place.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(place, source / peak, SAMPLE_RATE)
    mixture = (sources[0] + sources[1]) / peak
    level = np.sqrt(np.mean(mixture**2) / 10 ** (rng.uniform(SOUND.min_snr, SOUND.max_snr) / 10))
    return np.clip(mixture + level * colored_noise(size, rng), -0.99, 0.99)


def main() -> None:
    """Plan all corpora, make their files, write their tables."""
    options = parser(__doc__)
    options.add_argument("--output", required=True, help="folder to make")
    options.add_argument("--scale", type=float, default=1.0, help="of all sizes")
    options.add_argument("--seed", type=at_least(0), default=1, help="of all that is drawn")
    options.add_argument("--nj", type=at_least(1), default=2, help="processes")
    args = options.parse_args()
    if not 0 < args.scale <= 100:
        raise ValueError(f"--scale above 0, up to 100, expected, got {args.scale:g}")
    plan = Plan(args.seed, args.scale, make_speakers(SPEAKERS, args.seed))
    for corpus in PLANS:
        corpus(plan)
    with output_dir(args.output) as folder:
        work = functools.partial(make, folder=folder)
        with ProcessPoolExecutor(args.nj) as pool:
            made = pool.map(work, plan.items, chunksize=8)
            seconds = list(progress(made, "recordings", len(plan.items)))
        for path, lines in plan.tables.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text("".join(lines), encoding="utf-8")
    logging.info("%s: %d files, %.0f s", args.output, len(seconds), sum(seconds))


if __name__ == "__main__":
    run(main)
