"""Words by the phone predictions of a SpeechLM that was pre-trained a little, on made-up speech."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.utils.rnn import pad_sequence

from speechlm.conventions import PAD
from speechlm.data.archives import ArchiveReader
from speechlm.data.audio import read_audio
from speechlm.data.vocabulary import UnitVocabulary
from speechlm.decode.phone_scores import PhoneCounts, PhonePredictor, PhoneScores
from speechlm.models import SpeechLM, SpeechLMConfig
from speechlm.recognizer.adaptation import adapt_data, states_of_transcripts
from speechlm.recognizer.decoding import SearchConfig, WordDecoder, by_network, decode_data
from speechlm.recognizer.network import Network
from speechlm.recognizer.tuning import error_rate

SPEC = importlib.util.spec_from_file_location(
    "bands", Path(__file__).parents[1] / "recognizer" / "bands.py"
)
bands = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(bands)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return bands.train(tmp_path_factory.mktemp("synthetic"))


def pretrained_on(data, units):
    """A small SpeechLM-Fast after 150 updates of eight utterances with these labels."""
    torch.manual_seed(0)
    config = SpeechLMConfig.fast_tiny(embed_dim=48, ffn_dim=96, speech_layers=1, shared_layers=1)
    vocabulary = UnitVocabulary.phones()
    model, rng = SpeechLM(config, vocabulary.n_ids, 33), np.random.default_rng(0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3)
    waves = {u: torch.tensor(read_audio(data.wav[u])) for u in data.ids}
    for _ in range(150):
        chosen = rng.choice(data.ids, 8)
        lengths = torch.tensor([len(waves[u]) for u in chosen])
        labels = [torch.tensor(vocabulary.to_model_ids(units[u])) for u in chosen]
        loss, _, _ = model(
            pad_sequence([waves[u] for u in chosen], batch_first=True),
            lengths,
            pad_sequence(labels, batch_first=True, padding_value=PAD),
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model, vocabulary


def test_a_speechlm_that_was_pre_trained_on_the_labels_decodes_in_the_networks_place(
    trained, tmp_path
):
    """The network has learned nothing; the SpeechLM knows the phones of unmasked speech."""
    folder, data, spans, model, pronunciations, lexicon = trained
    bands.decoder_of(folder, data, model, pronunciations)
    test, spans = bands.make_corpus(tmp_path, np.random.default_rng(7))
    states = states_of_transcripts(test, model, lexicon)
    speakers = adapt_data(test, model, states, tmp_path / "speakers")
    network, config = Network.load(folder / "network"), SearchConfig(noise_rate=0.0)
    decoder = WordDecoder(folder / "graph", config)
    speechlm = pretrained_on(data, ArchiveReader(folder / "align" / "units.scp"))
    counts = PhoneCounts.of_units(folder / "align", 100)
    for depth in ("middle", "top", "both"):
        predictor = PhonePredictor(*speechlm, depth)
        scores = PhoneScores(predictor, counts, network.classes.table, model.hmm.classes)
        what = test, model, scores.of(test, network), decoder, speakers, pronunciations
        found = decode_data(*what, tmp_path / depth)
        assert found.outcome.failed == {} and found.outcome.utterances == 40
        words = [(found.text[u].split(), test.text[u].split()) for u in test.ids]
        assert error_rate([b for _, b in words], [a for a, _ in words]) < 5, depth
        assert bands.frames_right(ArchiveReader(tmp_path / depth / "units.1.scp"), spans) > 0.85
    found = decode_data(test, model, by_network(network), *what[3:], tmp_path / "network")
    wrong = error_rate(
        [test.text[u].split() for u in test.ids], [found.text[u].split() for u in test.ids]
    )
    assert wrong > 50
