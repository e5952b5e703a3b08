"""Flat start on a few minutes of real speech, against an independent forced aligner."""

import soundfile

from speechlm.data.kaldi_dir import DataDir
from speechlm.recognizer.adaptation import adapt_data, states_of_transcripts
from speechlm.recognizer.gmm_training import GmmConfig, load_corpus, train_gmm
from speechlm.recognizer.labelling import align_data
from speechlm.recognizer.speakers import load_speakers
from speechlm.recognizer.utterance_graph import read_pronunciations
from speechlm.score.alignment import report_units
from speechlm.tokenizers.covering_lexicon import cover


def dev_mini(folder, n):
    """The first n utterances of both speakers."""
    wav, text = {}, {}
    for transcripts in sorted(folder.glob("*/*/*.trans.txt")):
        for line in transcripts.read_text().splitlines()[:n]:
            utterance, words = line.split(" ", 1)
            wav[utterance] = str(transcripts.parent / f"{utterance}.flac")
            text[utterance] = words
    samples = {u: soundfile.info(path).frames for u, path in wav.items()}
    return DataDir(wav, {u: u.split("-")[0] for u in wav}, text, samples)


def test_a_few_minutes_of_real_speech(shared, tmp_path):
    corpus = shared / "data" / "LibriSpeech"
    data = dev_mini(corpus / "dev-mini", 9)
    cover({word for words in data.text.values() for word in words.split()}).lexicon.write(
        tmp_path / "lexicon.txt"
    )
    pronunciations = read_pronunciations(tmp_path / "lexicon.txt")
    config = GmmConfig(monophone=(1, 1, 2, 3, 4, 6), projected=(6,), adapted=(6,), steps=1)
    model = train_gmm(load_corpus(data, 1.0), pronunciations, config)
    states_of = states_of_transcripts(data, model, tmp_path / "lexicon.txt")
    adapt_data(data, model, states_of, tmp_path / "speakers")
    units = tmp_path / "units"
    align_data(data, model, load_speakers(tmp_path / "speakers"), pronunciations, units)
    (units / "units.1.scp").rename(units / "units.scp")
    figures = report_units(units, corpus / "dev-mini-alignments")
    assert figures["utterances"] == len(data)
    assert figures["frame_agreement"] > 75
    assert figures["boundary_within_20_ms"] > 75
    assert figures["boundary_median_ms"] <= 10.1
