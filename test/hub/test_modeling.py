"""SpeechLM's classes for transformers give what this toolkit's own model gives."""

import numpy as np
import pytest
import torch

import speechlm
from speechlm.checkpoints.ctc_encoder import CTCEncoder
from speechlm.checkpoints.load_ctc import load_model
from speechlm.data.vocabulary import CharacterVocabulary
from speechlm.decode.ctc_greedy import greedy

SIZES = ("base", "large", "fast_base")
IGNORED = torch.full((4, 3), -100)
"""Labels of utterances in which nothing is said."""


def ours(folder, waves):
    """Text and logits of each waveform, alone, by this toolkit."""
    model = load_model(folder)
    found = [model(torch.from_numpy(w)[None], torch.tensor([len(w)]))[0][0].numpy() for w in waves]
    return [greedy(logits) for logits in found], found


@pytest.mark.parametrize("size", SIZES)
def test_hidden_states_are_those_of_extract_features(size, trained, exported, batch, transformers):
    model = transformers.AutoModel.from_pretrained(exported(size, "pretrained"))
    own = speechlm.SpeechLM.from_pretrained(trained(size, "pretrained"))
    waveforms, mask, lengths = batch
    with torch.no_grad():
        found = model(waveforms, mask, output_hidden_states=True)
    assert torch.equal(found.last_hidden_state, own.extract_features(waveforms, lengths)[0])
    layers, _ = own.extract_features(waveforms, lengths, layers="all")
    assert len(found.hidden_states) == len(layers) == model.config.num_hidden_layers
    assert all(map(torch.equal, found.hidden_states, layers))
    assert model.config.hidden_size == layers[0].shape[2]


def test_a_mask_of_ones_is_no_mask(exported, batch, transformers):
    model = transformers.AutoModel.from_pretrained(exported("base", "pretrained"))
    waveforms, mask, _ = batch
    with torch.no_grad():
        found = [model(waveforms, m).last_hidden_state for m in (None, torch.ones_like(mask), mask)]
    torch.testing.assert_close(found[0], found[1])
    assert not torch.allclose(found[0], found[2], atol=1e-3)
    assert torch.equal(model(waveforms, return_dict=False)[0].detach(), found[0])


@pytest.mark.parametrize("size", SIZES)
def test_pipeline_gives_the_text_of_the_own_decoder(size, trained, exported, waves, transformers):
    """One by one and in batches, in which padding must not be written; two outputs a frame."""
    texts, _ = ours(trained(size), waves)
    assert len(set(texts)) == len(texts) and all(texts)
    pipe = transformers.pipeline("automatic-speech-recognition", model=str(exported(size)))
    assert pipe.feature_extractor.do_normalize == (size == "large")
    assert [pipe(wave)["text"] for wave in waves] == texts
    assert [out["text"] for out in pipe(list(waves), batch_size=3)] == texts


def test_a_delimiter_that_is_written_twice_is_one_blank(exported, transformers):
    """Trained models write some so; wav2vec 2.0's tokenizer gives two blanks, our decoder one."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(exported("base"))
    ids = tokenizer.convert_tokens_to_ids(["A", "|", "<s>", "|", "B", "B", "<s>", "B", "|"])
    assert tokenizer.decode(ids) == greedy(np.eye(len(CharacterVocabulary.symbols))[ids]) == "A BB"
    offsets = tokenizer.decode(ids, output_word_offsets=True)["word_offsets"]
    assert [word["word"] for word in offsets] == ["A", "BB"]


@pytest.mark.parametrize("size", ["base", "fast_base"])
def test_times_of_words(size, trained, exported, waves, transformers):
    from speechlm.decode.word_times import greedy_words

    pipe = transformers.pipeline("automatic-speech-recognition", model=str(exported(size)))
    model = load_model(trained(size))
    with_words = 0
    for wave, logits in zip(waves, ours(trained(size), waves)[1], strict=True):
        chunks = pipe(wave, return_timestamps="word")["chunks"]
        log_probs = torch.from_numpy(logits).log_softmax(-1).numpy()
        words = greedy_words(log_probs)
        assert [chunk["text"] for chunk in chunks] == [word.word for word in words]
        starts = [word.span[0] * model.framing.seconds for word in words]
        np.testing.assert_allclose([c["timestamp"][0] for c in chunks], starts, atol=1e-9)
        with_words += len(words)
    assert with_words > len(waves)


def test_symbols_for_no_character_write_nothing(exported, transformers):
    """This toolkit's decoder leaves them out; transformers' tokenizer would write `</s>`."""
    model = transformers.AutoModelForCTC.from_pretrained(exported("base"))
    symbols = CharacterVocabulary.symbols
    path = ["A", "</s>", "A", "<unk>", "B", "<pad>", "<mask>", "C", "|"]
    scores = torch.randn(1, len(path), len(symbols), generator=torch.Generator().manual_seed(0))
    for frame, symbol in enumerate(path):
        scores[0, frame, symbols.index(symbol)] = 9.0
    processor = transformers.AutoProcessor.from_pretrained(exported("base"))
    written = model._written(scores, torch.tensor([len(path)]))
    assert processor.batch_decode(written.argmax(-1)) == [greedy(scores[0].numpy())] == ["AABC"]
    cut = model._written(scores, torch.tensor([1]))
    assert processor.batch_decode(cut.argmax(-1)) == ["A"]


def test_the_loss_is_that_of_ctc(trained, exported, batch, transformers):
    model = transformers.AutoModelForCTC.from_pretrained(exported("fast_base"))
    processor = transformers.AutoProcessor.from_pretrained(exported("fast_base"))
    waveforms, mask, lengths = batch
    sentences = ["A CAT", "NO", "I", "TO GO"]
    labels = processor(text=sentences, padding=True, return_tensors="pt").input_ids
    texts = processor.batch_decode(labels, group_tokens=False)
    assert texts == sentences
    with torch.no_grad():
        found = model(waveforms, mask, labels.masked_fill(labels == 0, -100)).loss
    own = load_model(trained("fast_base"))
    total = 0.0
    for n, sentence in enumerate(sentences):
        logits, frames = own(waveforms[n : n + 1, : lengths[n]], torch.tensor(lengths[n : n + 1]))
        target = torch.from_numpy(CharacterVocabulary().encode(sentence)[:-1])  # without the last |
        log_probs = logits.log_softmax(-1).transpose(0, 1)
        total += torch.nn.functional.ctc_loss(
            log_probs, target[None], frames, torch.tensor([len(target)]), reduction="sum"
        )
    torch.testing.assert_close(found, total / len(sentences), rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match="ids below vocab_size 33 expected, got 40"):
        model(waveforms, mask, torch.full((4, 2), 40))
    with pytest.raises(ValueError, match=r"shape \(4, longest\) expected, got \(2, 1\)"):
        model(waveforms, mask, torch.ones(2, 1, dtype=torch.long))


def test_classes_of_utterances(exported, batch, transformers):
    """Weighted layers, projection, mean over the valid frames; alone as in a batch."""
    model = transformers.AutoModelForAudioClassification.from_pretrained(
        exported("large", "pretrained"), num_labels=3
    )
    assert model.layer_weights.tolist() == [0.0, 0.0]
    waveforms, mask, lengths = batch
    with torch.no_grad():
        model.layer_weights[0] = 1.0
        found = model(waveforms, mask, torch.tensor([0, 1, 2, 0]), output_hidden_states=True)
        shares = torch.tensor([1.0, 0.0]).softmax(0)
        for n, length in enumerate(lengths):
            alone = model(waveforms[n : n + 1, :length], output_hidden_states=True)
            torch.testing.assert_close(alone.logits[0], found.logits[n], atol=1e-4, rtol=1e-4)
            mixed = sum(s * h for s, h in zip(shares, alone.hidden_states, strict=True))
            expected = model.classifier(model.projector(mixed).mean(1))
            torch.testing.assert_close(alone.logits, expected)
    assert found.loss > 0
    model.freeze_base_model()
    open_ = {name.split(".")[0] for name, p in model.named_parameters() if p.requires_grad}
    assert open_ == {"layer_weights", "projector", "classifier"}


def test_training_mode_masks_only_if_asked(exported, batch, transformers):
    folder = exported("large", "pretrained")
    waveforms, mask, _ = batch
    plain = transformers.AutoModelForCTC.from_pretrained(folder).train()
    masking = transformers.AutoModelForCTC.from_pretrained(
        folder, augment={"time_prob": 0.6}
    ).train()
    assert masking.network.mask_emb.requires_grad and not plain.network.mask_emb.requires_grad
    for model, same in ((plain, True), (masking, False)):
        model.network.unit_encoder_ctc_head.dropout = 0.0
        with torch.no_grad():
            assert torch.equal(model(waveforms, mask).logits, model(waveforms, mask).logits) == same
    plain.freeze_feature_encoder()
    plain(waveforms, mask, torch.full((4, 1), 5)).loss.backward()
    assert all(p.grad is None for p in plain.network.feature_extractor.parameters())
    assert plain.network.encoder.layers[0].fc1.weight.grad.abs().sum() > 0
    plain.freeze_base_model()
    open_ = [name for name, p in plain.named_parameters() if p.requires_grad]
    assert open_ and all("ctc_head" in name for name in open_)


def test_what_is_made_without_a_file_has_the_networks_own_initial_values(network_config):
    from speechlm.hub import SpeechLMConfig, SpeechLMForCTC

    config = SpeechLMConfig(network_config("fast_base").to_dict())
    torch.manual_seed(3)
    model = SpeechLMForCTC(config)
    torch.manual_seed(3)
    encoder = CTCEncoder(network_config("fast_base"))
    own = encoder.speechlm.state_dict()
    found = model.network.state_dict()
    assert all(torch.equal(found[name], weight) for name, weight in own.items())


def test_wrong_input_is_named(exported, batch, transformers):
    model = transformers.AutoModel.from_pretrained(exported("base", "pretrained"))
    waveforms, mask, _ = batch
    with pytest.raises(ValueError, match="0 comes before 1 in rows 1, 2, 3; pad on the right"):
        model(waveforms, mask.flip(1))
    with pytest.raises(ValueError, match=r"the shape of input_values, \(4, 9000\), expected"):
        model(waveforms, mask[:, :-1])
    with pytest.raises(ValueError, match="shorter than one frame"):
        model(waveforms[:, :100])
    with pytest.raises(ValueError, match="one frame.*got 20 in row 0"):
        model(waveforms, (torch.arange(9000) < 20).long().expand(4, -1))
    with pytest.raises(ValueError, match="floating-point samples"):
        model(waveforms.long())
    with pytest.raises(ValueError, match="attention_mask: a torch.Tensor expected, got list"):
        model(waveforms, mask.tolist())
    damaged = waveforms.clone()
    damaged[1, 7], damaged[3, 9] = float("nan"), float("inf")
    with pytest.raises(ValueError, match="finite samples expected, some of row 1, 3 are not"):
        model(damaged, mask)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (torch.ones(4, 2), "labels: integers expected, got torch.float32"),
        (torch.full((4, 2), 33), "ids below vocab_size 33 expected, got 33"),
    ],
)
def test_wrong_labels_of_a_recogniser_are_named(labels, message, exported, batch, transformers):
    model = transformers.AutoModelForCTC.from_pretrained(exported("base"))
    with pytest.raises(ValueError, match=message):
        model(*batch[:2], labels=labels)


def test_an_utterance_without_words_has_a_loss(exported, batch, transformers):
    model = transformers.AutoModelForCTC.from_pretrained(exported("base"))
    none = [model(*batch[:2], labels=labels).loss for labels in (IGNORED, IGNORED[:, :0])]
    assert torch.isfinite(none[0]) and torch.equal(*none)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (torch.ones(4), "labels: integers expected"),
        (torch.ones(4, 1).long(), r"a class of each of 4 utterances expected, got shape \(4, 1\)"),
        (torch.tensor([0, 1, 3, 0]), "ids below num_labels 3 expected, got 3"),
        (torch.tensor([0, 1, -1, 0]), "ids below num_labels 3 expected, got -1"),
    ],
)
def test_wrong_classes_are_named(labels, message, exported, batch, transformers):
    model = transformers.AutoModelForAudioClassification.from_pretrained(
        exported("base", "pretrained"), num_labels=3
    )
    with pytest.raises(ValueError, match=message):
        model(*batch[:2], labels=labels)


def test_wrong_configurations_are_named():
    from speechlm.hub import SpeechLMConfig

    with pytest.raises(ValueError, match='"embed_dims"; did you mean "embed_dim"'):
        SpeechLMConfig({"embed_dims": 3})
    with pytest.raises(ValueError, match="augment: time_prob, .* expected, got mask"):
        SpeechLMConfig(augment={"mask": 1})
    with pytest.raises(ValueError, match="model_type speechlm expected, got hubert"):
        SpeechLMConfig.from_dict({"model_type": "hubert"})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"vocab_size": "33"}, "vocab_size: a number of 2 or more expected, got '33'"),
        ({"pad_token_id": 33}, r"pad_token_id: .* 0 to 32 \(vocab_size 33\), got 33"),
        ({"silent_ids": [1, 99]}, "silent_ids: .* got 99"),
        ({"silent_ids": "a"}, "silent_ids: .* got 'a'"),
        ({"augment": 5}, "augment: values by name expected, got 5"),
        ({"speechlm": [1]}, r"speechlm: values by name expected, got \[1\]"),
        ({"augment": {"time_prob": "a"}}, "time_prob: a share from 0 to 1 expected, got 'a'"),
        ({"augment": {"time_prob": 1.5}}, "time_prob: a share from 0 to 1 expected, got 1.5"),
        ({"augment": {"time_length": 0}}, "time_length: a whole number of 1 or more expected"),
    ],
)
def test_values_that_fit_no_head_are_named(values, message):
    from speechlm.hub import SpeechLMConfig

    with pytest.raises(ValueError, match=message):
        SpeechLMConfig(**values)
