"""Speech of noise in frequency bands, a phone a band, and a recogniser that is trained on it."""

import numpy as np
import soundfile
import torch

from speechlm.data.archives import merge_archives
from speechlm.data.kaldi_dir import DataDir
from speechlm.data.vocabulary import PHONES
from speechlm.recognizer.adaptation import adapt_data, states_of_transcripts
from speechlm.recognizer.gmm_training import GmmConfig, load_corpus, train_gmm
from speechlm.recognizer.labelling import align_data
from speechlm.recognizer.network import Network
from speechlm.recognizer.network_data import make_network_data
from speechlm.recognizer.phone_acoustic import PhoneAcousticConfig, PhoneAcousticModel
from speechlm.recognizer.search_graph import make_graph
from speechlm.recognizer.speakers import load_speakers
from speechlm.recognizer.topology import N_PDFS
from speechlm.recognizer.utterance_graph import read_pronunciations

LEXICON = {"SEE": ["S", "IY1"], "MOO": ["M", "UW1"], "ASH": ["AE1", "SH"], "AM": ["AE1", "M"]}
BANDS = {
    "S": (5500, 7500),
    "IY1": (2000, 3000),
    "M": (150, 350),
    "UW1": (400, 800),
    "AE1": (900, 1700),
    "SH": (3200, 4500),
}
CONFIG = GmmConfig(monophone=(1, 1, 1, 2, 2), projected=(2, 2), adapted=(2, 2), network=(2, 2))


def noise(rng, band, seconds, tilt):
    """Noise of one frequency band (Hz), as a speaker with a `tilt` makes it."""
    n = round(16000 * seconds)
    spectrum = np.fft.rfft(rng.normal(size=n))
    frequency = np.fft.rfftfreq(n, 1 / 16000)
    inside = (frequency > band[0]) & (frequency < band[1])
    spectrum *= np.where(inside, 1.0, 0.01) * (1 + tilt * frequency / 8000)
    return np.fft.irfft(spectrum, n) * 0.1


def make_corpus(folder, rng, shares=None):
    """Two speakers, 20 sentences each; returns the data directory and true spans (seconds).

    `shares`: probabilities of the words, which are sorted.
    """
    wav, speakers, text, samples, spans = {}, {}, {}, {}, {}
    for number in range(40):
        speaker = f"s{number % 2}"
        utterance = f"{speaker}-{number:02d}"
        words = list(rng.choice(sorted(LEXICON), 4, p=shares))
        parts, marks, time = [], [], 0.0
        for word in [None, *words, None]:
            for phone in LEXICON[word] if word else ["SIL"]:
                seconds = rng.uniform(0.08, 0.16)
                band = BANDS.get(phone, (0, 0))
                parts.append(noise(rng, band, seconds, 3.0 * (number % 2)))
                marks.append((phone, time, time + seconds))
                time += seconds
        audio = np.concatenate(parts).astype(np.float32)
        path = folder / f"{utterance}.flac"
        soundfile.write(path, audio, 16000)
        wav[utterance], speakers[utterance] = str(path), speaker
        text[utterance], samples[utterance] = " ".join(words), len(audio)
        spans[utterance] = marks
    return DataDir(wav, speakers, text, samples), spans


def train(folder):
    """Gaussians and speakers of a corpus: folder, data, spans, model, pronunciations, lexicon."""
    data, spans = make_corpus(folder, np.random.default_rng(0))
    lexicon = folder / "lexicon.txt"
    lexicon.write_text("".join(f"{w} {' '.join(p)}\n" for w, p in LEXICON.items()))
    corpus = load_corpus(data, 1.0)
    pronunciations = read_pronunciations(lexicon)
    model = train_gmm(corpus, pronunciations, CONFIG)
    adapt_data(data, model, states_of_transcripts(data, model, lexicon), folder / "speakers")
    return folder, data, spans, model, pronunciations, lexicon


def frames_right(units, spans):
    """Share of the labels that name the phone at the middle of their window."""
    right = total = 0
    for utterance, marks in spans.items():
        labels = units[utterance]
        centres = np.arange(len(labels)) * 0.01 + 0.0125
        for label, centre in zip(labels, centres, strict=True):
            true = next((p for p, a, b in marks if a <= centre < b), "SIL")
            right += PHONES[label].split("_")[0] == true
            total += 1
    return right / total


def decoder_of(folder, data, model, pronunciations):
    """A network that has learned nothing, and a decoder with a unigram of the words."""
    align_data(
        data,
        model,
        load_speakers(folder / "speakers"),
        pronunciations,
        folder / "align",
        with_features=True,
    )
    for name in ("units", "feats", "states"):
        merge_archives(folder / "align", 1, name)
    classes = make_network_data([folder / "align"], folder / "net", max_classes=45, min_count=30)
    torch.manual_seed(0)
    config = PhoneAcousticConfig(classes.n_classes, N_PDFS, width=16, bottleneck=8, dilations=(1,))
    Network(PhoneAcousticModel(config), classes).save(folder / "network")
    words = "".join(f"-0.7 {word}\n" for word in ("</s>", *sorted(LEXICON)))
    (folder / "lm.arpa").write_text(
        f"\\data\\\nngram 1={len(LEXICON) + 2}\n\n\\1-grams:\n-99 <s>\n{words}\n\\end\\\n"
    )
    make_graph(pronunciations, folder / "lm.arpa", classes, folder / "graph")
