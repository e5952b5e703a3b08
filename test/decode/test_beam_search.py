"""Beam search against a plain search without cache or batches; limits; batches."""

import pytest
import torch

from speechlm.conventions import BOS, EOS, PAD, UNK
from speechlm.decode.beam_search import NEVER, BeamOptions, Hypothesis, beam_search
from speechlm.models.translation_decoder import TranslationDecoder, TranslationDecoderConfig

SMALL = {
    "encoder_dim": 12,
    "embed_dim": 16,
    "ffn_dim": 32,
    "layers": 2,
    "heads": 2,
    "relative_clip": 3,
}


def make(n_tokens: int = 9, end: float = 0.0, seed: int = 0) -> TranslationDecoder:
    """A random decoder with peaked scores; `end` is added to the scores of EOS."""
    torch.manual_seed(seed)
    decoder = TranslationDecoder(TranslationDecoderConfig.from_dict(SMALL), n_tokens).eval()
    with torch.no_grad():
        decoder.output_projection.weight *= 6.0
    project = decoder.output_projection.forward

    def forward(x):
        scores = project(x)
        scores[..., EOS] += end
        return scores

    decoder.output_projection.forward = forward
    return decoder


@pytest.fixture
def speech():
    """Features of four utterances, and their padding."""
    padding = torch.arange(14)[None] >= torch.tensor([14, 9, 4, 11])[:, None]
    features = torch.randn(4, 14, 12, generator=torch.Generator().manual_seed(4))
    return features, padding


@torch.no_grad()
def plain_search(decoder, features, options: BeamOptions) -> list[Hypothesis]:
    """One utterance (1, T, D), whole sentences scored anew at every step."""
    alive, ended = [((), 0.0)], []
    while len(ended) < options.beam and alive:
        length = len(alive[0][0]) + 1
        new = []
        for tokens, total in alive:
            scores = decoder(features, None, torch.tensor([[EOS, *tokens]]))[0, -1].log_softmax(-1)
            for token, score in enumerate(scores.tolist()):
                if token not in NEVER and (length <= options.max_tokens or token == EOS):
                    new.append((total + score, tokens, token))
        best = sorted(new, key=lambda item: -item[0])[: 2 * options.beam]
        for total, tokens, token in best[: options.beam]:
            if token == EOS and len(ended) < options.beam:
                ended.append(Hypothesis(tokens, total / length**options.length_penalty))
        alive = [((*tokens, token), total) for total, tokens, token in best if token != EOS]
        alive = alive[: options.beam]
    return sorted(ended, key=lambda h: -h.score)


@pytest.mark.parametrize("beam", [1, 2, 5])
@pytest.mark.parametrize(("penalty", "end", "seed"), [(1.0, 0.0, 0), (0.0, 1.0, 1), (2.0, -2.0, 2)])
def test_it_finds_what_a_plain_search_finds(speech, beam, penalty, end, seed):
    decoder, (features, padding) = make(end=end, seed=seed), speech
    options = BeamOptions(beam, penalty, 11)
    found = beam_search(decoder, features, padding, options)
    for row, hypotheses in enumerate(found):
        alone = features[row : row + 1, : int((~padding[row]).sum())]
        expected = plain_search(decoder, alone, options)
        assert [h.tokens for h in hypotheses] == [h.tokens for h in expected]
        scores = torch.tensor([h.score for h in hypotheses])
        torch.testing.assert_close(
            scores, torch.tensor([h.score for h in expected]), rtol=1e-4, atol=1e-5
        )
        assert len(hypotheses) >= 1


def test_a_batch_gives_what_single_utterances_give(speech):
    decoder, (features, padding) = make(n_tokens=40, end=3.0, seed=3), speech
    options = BeamOptions(beam=5)
    together = beam_search(decoder, features, padding, options)
    lengths = {len(found[0].tokens) for found in together}
    assert len(lengths) > 1  # utterances leave the batch at different times
    for row, found in enumerate(together):
        cut = features[row : row + 1, : int((~padding[row]).sum())]
        alone = beam_search(decoder, cut, None, options)[0]
        assert [h.tokens for h in alone] == [h.tokens for h in found]


def test_wide_beams_find_better_translations(speech):
    decoder = make(n_tokens=20, end=-1.0, seed=5)
    best = [
        [found[0].score for found in beam_search(decoder, *speech, BeamOptions(beam, 0.0))]
        for beam in (1, 8)
    ]
    assert sum(best[1]) > sum(best[0])


def test_lengths_are_limited(speech):
    decoder = make(end=-1e4)
    found = beam_search(decoder, *speech, BeamOptions(beam=3, max_tokens=7))
    assert {len(h.tokens) for hypotheses in found for h in hypotheses} == {7}
    assert not any(set(h.tokens) & set(NEVER) for hyps in found for h in hyps)


def test_empty_translations_are_possible(speech):
    found = beam_search(make(end=1e4), *speech, BeamOptions(beam=2))
    assert all(hypotheses[0].tokens == () for hypotheses in found)


def test_few_tokens_for_many_beams(speech):
    found = beam_search(make(n_tokens=5), *speech, BeamOptions(beam=5, max_tokens=3))
    assert all(hypotheses for hypotheses in found)
    assert all(set(h.tokens) <= {BOS, UNK, 4} for hypotheses in found for h in hypotheses)


def test_the_papers_values():
    assert BeamOptions() == BeamOptions(beam=5, length_penalty=1.0, max_tokens=512)
    assert NEVER == (PAD,)


@pytest.mark.parametrize("wrong", [{"beam": 0}, {"length_penalty": -1.0}, {"max_tokens": 0}])
def test_wrong_options(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        BeamOptions(**wrong)
