#!/usr/bin/env python3
"""Make a small corpus in the layout of Common Voice and CoVoST 2 with espeak-ng.

OUTPUT/en/clips/*.mp3 (32 kHz, as Common Voice's), OUTPUT/en/validated.tsv (all clips),
OUTPUT/en/train.tsv (clips whose transcripts are for the recogniser), OUTPUT/covost_v2.en_de.tsv
(path, translation, split), OUTPUT/text/unpaired.txt (English, a sentence a line). No sentence is
in two of the sets; dev and test have voices of their own. Some clips have no translation: they are
speech for pre-training. The same options give the same samples, whatever --nj is.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from parallel_grammar import Pair, draw

from speechlm.bin._cli import parser, run
from speechlm.data.atomic import output_dir
from speechlm.data.audio import resample
from speechlm.data.common_voice import plain_transcript
from speechlm.progress import progress

sys.path.append(str(Path(__file__).resolve().parents[2] / "mini" / "local"))
from espeak import DIALECTS, RATE, Synthesizer, variants

MP3_RATE = 32000
SETS = ("train", "dev", "test", "speech")
_COLUMNS = (
    "client_id",
    "path",
    "sentence",
    "up_votes",
    "down_votes",
    "age",
    "gender",
    "accent",
    "locale",
    "segment",
)


@dataclass(frozen=True)
class Speaker:
    """A voice with a rate (words a minute) and a pitch (0..99)."""

    client: str
    voice: str
    sex: str
    speed: float
    pitch: float


@dataclass(frozen=True)
class Utterance:
    """One clip to make."""

    name: str
    part: str
    pair: Pair
    speaker: Speaker
    seed: tuple[int, ...]


def make_speakers(counts: dict[str, int], seed: int) -> dict[str, list[Speaker]]:
    """Speakers of each set; those of train and of speech are the same, no other voice is shared."""
    rng = np.random.default_rng([seed, 1])
    found = variants()
    if sum(counts.values()) > len(found):
        raise ValueError(f"at most {len(found)} speakers in all, got {sum(counts.values())}")
    voices = iter([found[i] for i in rng.permutation(len(found))])
    speakers: dict[str, list[Speaker]] = {}
    for part, count in counts.items():
        speakers[part] = []
        for number in range(count):
            name, sex = next(voices)
            dialect = DIALECTS[number % 2]
            client = hashlib.sha512(f"{seed} {part} {number}".encode()).hexdigest()
            speed, pitch = rng.uniform(180, 220), rng.uniform(35, 65)
            speakers[part].append(Speaker(client, f"{dialect}+{name}", sex, speed, pitch))
    speakers["speech"] = speakers["train"]
    return speakers


def plan(sizes: dict[str, int], speakers: dict[str, list[Speaker]], seed: int) -> list[Utterance]:
    """Sentences of all sets with their speakers in turn."""
    utterances: list[Utterance] = []
    for part, pairs in zip(SETS, draw([sizes[part] for part in SETS], seed), strict=True):
        for i, pair in enumerate(pairs):
            name = f"common_voice_en_{len(utterances) + 1:07d}"
            who = speakers[part][i % len(speakers[part])]
            utterances.append(Utterance(name, part, pair, who, (seed, 2, len(utterances))))
    return utterances


@functools.cache
def _synthesizer() -> Synthesizer:
    return Synthesizer()


def make_one(utterance: Utterance, folder: Path) -> float:
    """Write one clip; returns its length in seconds."""
    rng = np.random.default_rng(utterance.seed)
    speaker = utterance.speaker
    words = plain_transcript(utterance.pair.english, "en").lower()
    speed, pitch = (round(v * rng.uniform(0.95, 1.05)) for v in (speaker.speed, speaker.pitch))
    seed = int(rng.integers(1, 2**31))
    samples = _synthesizer().say(words, speaker.voice, speed, pitch, seed)
    speech = resample(samples.astype(np.float32) / 2**15, RATE, MP3_RATE)
    speech = np.pad(speech, tuple(int(n) for n in rng.integers(MP3_RATE // 20, MP3_RATE // 6, 2)))
    power = float(np.mean(speech**2))
    noise = rng.standard_normal(len(speech)) * np.sqrt(power / 10 ** (rng.uniform(20, 35) / 10))
    wave = ((speech + noise) * 0.05 / np.sqrt(power)).clip(-0.99, 0.99).astype(np.float32)
    soundfile.write(folder / f"{utterance.name}.mp3", wave, MP3_RATE, format="MP3")
    return len(wave) / MP3_RATE


def write_tables(folder: Path, utterances: list[Utterance], n_transcribed: int) -> None:
    """validated.tsv, train.tsv and the translations."""

    def row(u: Utterance) -> str:
        gender = "male" if u.speaker.sex == "M" else "female"
        values = (u.speaker.client, f"{u.name}.mp3", u.pair.english, "2", "0", "", gender, "us")
        return "\t".join([*values, "en", ""])

    train = [u for u in utterances if u.part == "train"]
    for name, chosen in (("validated", utterances), ("train", train[:n_transcribed])):
        lines = ["\t".join(_COLUMNS), *map(row, chosen)]
        (folder / "en" / f"{name}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    lines = ["path\ttranslation\tsplit"]
    for i, u in enumerate(u for u in utterances if u.part != "speech"):
        split = "train_covost" if u.part == "train" and i % 3 == 0 else u.part
        lines.append(f"{u.name}.mp3\t{u.pair.german}\t{split}")
    (folder / "covost_v2.en_de.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    """Make the corpus and describe it."""
    options = parser(__doc__)
    options.add_argument("--output", required=True, help="folder to make")
    for part, size in zip(SETS, (1200, 60, 150, 200), strict=True):
        options.add_argument(f"--{part}", type=int, default=size, help=f"clips of {part}")
    options.add_argument("--transcribed", type=int, default=300, help="clips of train in train.tsv")
    options.add_argument("--text", type=int, default=4000, help="sentences of text/unpaired.txt")
    options.add_argument(
        "--speakers",
        type=int,
        nargs=3,
        default=(24, 4, 6),
        metavar="N",
        help="of train, dev and test",
    )
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--nj", type=int, default=2, help="processes")
    args = options.parse_args()
    sizes = {part: getattr(args, part) for part in SETS}
    if min(*sizes.values(), *args.speakers, args.text, args.transcribed) < 1:
        raise ValueError("every set, its number of speakers and the text must be at least 1")
    counts = dict(zip(SETS, args.speakers, strict=False))
    utterances = plan(sizes, make_speakers(counts, args.seed), args.seed)
    spoken = {u.pair.english.lower() for u in utterances}
    drawn = draw([sum(sizes.values()) + args.text], args.seed + 1)[0]
    text = [p.english for p in drawn if p.english.lower() not in spoken][: args.text]
    with output_dir(args.output) as folder:
        (folder / "en" / "clips").mkdir(parents=True)
        work = functools.partial(make_one, folder=folder / "en" / "clips")
        with ProcessPoolExecutor(max(1, args.nj)) as pool:
            made = pool.map(work, utterances, chunksize=8)
            seconds = sum(progress(made, "recordings", len(utterances)))
        write_tables(folder, utterances, args.transcribed)
        (folder / "text").mkdir()
        lines = "".join(f"{plain_transcript(line, 'en')}\n" for line in text)
        (folder / "text" / "unpaired.txt").write_text(lines, encoding="utf-8")
    logging.info(
        "%s: %d clips, %.1f minutes, %d sentences of text",
        args.output,
        len(utterances),
        seconds / 60,
        len(text),
    )


if __name__ == "__main__":
    run(main)
