from contextlib import nullcontext

import pytest
import torch

from speechlm import kernels
from speechlm.conventions import EOS, PAD
from speechlm.models import AugmentOptions, SpeechDraws, SpeechLM, SpeechLMConfig

NO_DROPOUT = {
    "dropout": 0.0,
    "attention_dropout": 0.0,
    "input_dropout": 0.0,
    "ctc_dropout": 0.0,
    "speech_layerdrop": 0.0,
    "shared_layerdrop": 0.0,
}


def speech(batch):
    return batch["waveforms"], batch["sample_lengths"], batch["labels"]


@pytest.mark.parametrize("size", ["group", "layer"])
def test_overfits_one_batch(small_model, batch, size):
    """Both unit losses and UCTC fall on fixed data, in the Base and in the Large arrangement."""
    model = small_model(**NO_DROPOUT, conv_norm=size, pre_norm=size == "layer").train()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    history = []
    for step in range(60):
        torch.manual_seed(step % 2)
        loss, stats, _ = model(**batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(stats)
    for name in ("loss_middle", "loss_top", "loss_ctc"):
        first = (history[0][name] + history[1][name]) / 2
        last = (history[-1][name] + history[-2][name]) / 2
        assert last < 0.85 * first, f"{name}: {first} -> {last}"
    assert history[-1]["accuracy_top"] > history[0]["accuracy_top"]


def test_statistics_and_weight(small_model, batch):
    torch.manual_seed(0)
    model = small_model(**NO_DROPOUT).train()
    spoken = model.forward_speech(*speech(batch))
    text = model.forward_text(batch["units"], batch["characters"])
    loss, stats, weight = model.total_loss(spoken, text)
    assert weight == spoken.n_masked == spoken.masked.sum()
    expected = (
        spoken.middle.loss
        + spoken.top.loss
        + 10 * spoken.feature_penalty * spoken.n_masked
        + 0.1 * text.ctc * spoken.n_masked / text.n_tokens
    ) / spoken.n_masked
    torch.testing.assert_close(loss, expected)
    assert text.n_tokens == 9 + 7
    assert all(not value.requires_grad and value.dim() == 0 for value in stats.values())
    assert set(stats) == {
        "loss",
        "loss_middle",
        "loss_top",
        "loss_ctc",
        "accuracy_middle",
        "accuracy_top",
        "feature_penalty",
        "n_masked",
        "impossible_lines",
    }


def test_a_sentence_that_ctc_cannot_write_counts_nowhere(small_model, batch):
    torch.manual_seed(0)
    model = small_model(**NO_DROPOUT).train()
    spoken = model.forward_speech(*speech(batch))
    units, characters = batch["units"], batch["characters"]
    mask = torch.zeros_like(units, dtype=torch.bool)
    alone = model.forward_text(units[:1], characters[:1], mask[:1])
    units[1, 5:], units[1, 4] = PAD, EOS  # 5 units, 6 characters
    both = model.forward_text(units, characters, mask)
    torch.testing.assert_close(both.ctc, alone.ctc)
    assert (both.n_tokens, both.n_impossible, alone.n_impossible) == (9, 1, 0)
    losses = [model.total_loss(spoken, text) for text in (alone, both)]
    torch.testing.assert_close(losses[1][0], losses[0][0])
    torch.testing.assert_close(losses[1][1]["loss_ctc"], losses[0][1]["loss_ctc"])
    assert losses[1][1]["impossible_lines"] == 1
    none = model.forward_text(units[1:], characters[1:], mask[1:])
    loss, stats, _ = model.total_loss(spoken, none)
    assert torch.isfinite(loss) and stats["loss_ctc"].isnan() and stats["impossible_lines"] == 1


def test_unmasked_frames_count_with_their_weight(small_model, batch):
    """The same draws score the masked frames alike; the others enter with the given weight."""
    outputs = []
    for weight in (0.0, 0.5):
        torch.manual_seed(0)
        model = small_model(**NO_DROPOUT, unmasked_weight=weight).train()
        outputs.append((model, model.forward_speech(*speech(batch))))
    (_, paper), (model, spoken) = outputs
    assert paper.unmasked is None
    torch.testing.assert_close(spoken.top.loss, paper.top.loss)
    middle, top = spoken.unmasked
    others = middle.logits.shape[0]
    assert others == (~spoken.masked & (spoken.targets != 1)).sum() > 0
    loss, stats, count = model.total_loss(spoken)
    assert count == spoken.n_masked + others
    assert stats["n_masked"] == spoken.n_masked
    entropies = spoken.middle.loss + spoken.top.loss + 0.5 * (middle.loss + top.loss)
    torch.testing.assert_close(loss, entropies / count + 10 * spoken.feature_penalty)


def test_speech_only_leaves_the_text_terms_out(small_model, batch):
    model = small_model().train()
    _, stats, _ = model(*speech(batch))
    assert "loss_ctc" not in stats


def test_masks_avoid_padding_and_swaps_avoid_masks(small_model, batch):
    model = small_model().train()
    for seed in range(10):
        torch.manual_seed(seed)
        output = model.forward_speech(*speech(batch))
        assert not (output.masked & output.swapped).any()
        assert not (output.masked & (output.targets == 1)).any()
        assert not (output.swapped & (output.targets == 1)).any()
        assert output.swapped.any()
        assert len(set(output.masked.sum(1).tolist())) == 1


def test_swapped_frames_enter_the_shared_encoder_as_unit_embeddings(small_model, batch):
    model = small_model(**NO_DROPOUT).train()
    seen = []
    model.unit_encoder.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    output = model.forward_speech(*speech(batch))
    units = model.unit_embed_tokens(output.targets)
    assert torch.equal(seen[0][output.swapped], units[output.swapped])
    others = ~output.swapped & (output.targets != 1)
    assert not (seen[0][others] == units[others]).all(-1).any()


def test_100_hz_labels_have_a_random_phase(small_model, batch):
    model = small_model().train()
    labels, phases = batch["labels"], set()
    for seed in range(12):
        torch.manual_seed(seed)
        targets = model.forward_speech(*speech(batch)).targets
        frames = targets.shape[1]
        for phase in (0, 1):
            if torch.equal(targets, labels[:, phase : phase + 2 * frames : 2]):
                phases.add(phase)
    assert phases == {0, 1}


def test_features_are_cut_to_the_labels(small_model, batch):
    model = small_model(label_rate=50).train()
    frames = model.framing.frames(batch["waveforms"].shape[1])
    for n_labels, expected in ((frames + 5, frames), (frames - 9, frames - 9)):
        labels = torch.full((3, n_labels), 5)
        assert model.forward_speech(*speech(batch)[:2], labels).targets.shape == (3, expected)
    with pytest.raises(ValueError, match="labels are fewer"):
        model.forward_speech(*speech(batch)[:2], torch.zeros(3, 0, dtype=torch.long))
    with pytest.raises(ValueError, match="labels of 2 utterances for 3 waveforms"):
        model.forward_speech(*speech(batch)[:2], batch["labels"][:2])


def test_gradients_reach_every_part_that_is_used(small_model, batch):
    model = small_model(**NO_DROPOUT).train()
    torch.manual_seed(0)
    model(**batch)[0].backward()
    for name, parameter in model.named_parameters():
        if ".norm_k." in name:
            assert not parameter.requires_grad and parameter.grad is None
        else:
            assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), name
            assert parameter.grad.any() or name.endswith("k_proj.bias"), name
    large = small_model(**NO_DROPOUT, pre_norm=True).train()
    large(**batch)[0].backward()
    assert all(p.grad is not None for p in large.parameters())


def test_front_end_gradient_factor(small_model, batch):
    def first_gradient(factor):
        model = small_model(**NO_DROPOUT, feature_grad_mult=factor).train()
        torch.manual_seed(0)
        model(**batch)[0].backward()
        return model.feature_extractor.conv_layers[1].conv.weight.grad

    whole, tenth = first_gradient(1.0), first_gradient(0.1)
    torch.testing.assert_close(tenth, whole * 0.1, rtol=1e-3, atol=1e-6)
    assert first_gradient(0.0) is None


def test_repeatable_under_torch_s_seed(small_model, batch):
    def run(seed):
        model = small_model(speech_layerdrop=0.3).train()
        torch.manual_seed(seed)
        loss = model(**batch)[0]
        loss.backward()
        return loss.item(), model.mask_emb.grad.clone()

    (first, first_grad), (again, again_grad), (other, _) = run(5), run(5), run(6)
    assert first == again and torch.equal(first_grad, again_grad) and first != other


@pytest.mark.parametrize("pre_norm", [False, True])
def test_bfloat16_autocast_is_close_to_float32(small_model, batch, pre_norm):
    model = small_model(pre_norm=pre_norm).train()

    def run(enabled):
        model.zero_grad()
        torch.manual_seed(0)
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            loss, stats, _ = model(**batch)
        loss.backward()
        gradient = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
        return stats, gradient

    (exact, exact_grad), (half, half_grad) = run(False), run(True)
    for name in ("loss", "loss_middle", "loss_top", "loss_ctc"):
        assert abs(exact[name] - half[name]) < 0.02 * exact[name], name
    assert torch.cosine_similarity(exact_grad, half_grad, dim=0) > 0.97
    assert half_grad.dtype == torch.float32


def test_extract_features(small_model, batch):
    model = small_model().train()
    waveforms, lengths = batch["waveforms"], batch["sample_lengths"]
    last, frames = model.extract_features(waveforms, lengths)
    layers, _ = model.extract_features(waveforms, lengths, layers="all")
    assert model.training and not last.requires_grad
    assert last.shape == (3, 74, 32) and len(layers) == 4
    assert torch.equal(layers[-1], last)
    assert frames.tolist()[0] == 74
    assert model.extract_features(waveforms)[1].tolist() == [74, 74, 74]


def test_wrong_inputs_say_what_was_expected(small_model):
    model = small_model()
    with pytest.raises(ValueError, match='expected "last" or "all"'):
        model.extract_features(torch.zeros(1, 4000), layers="3")
    with pytest.raises(ValueError, match=r"expected shape \(batch, samples\)"):
        model.extract_features(torch.zeros(4000))
    with pytest.raises(ValueError, match="shorter than one frame"):
        model.extract_features(torch.zeros(1, 399))
    with pytest.raises(ValueError, match="expected 2 numbers"):
        model.extract_features(torch.zeros(2, 4000), torch.tensor([4000]))


@pytest.mark.parametrize(
    "arrangement", [{}, {"conv_norm": "layer", "pre_norm": True, "normalize_waveform": True}]
)
def test_batch_composition_does_not_matter_when_padding_is_ignored(small_model, batch, arrangement):
    model = small_model(ignore_padding=True, **arrangement).eval()
    together, frames = model.extract_features(batch["waveforms"], batch["sample_lengths"])
    for row, length in enumerate(batch["sample_lengths"].tolist()):
        alone, count = model.extract_features(batch["waveforms"][row : row + 1, :length])
        assert frames[row] == count[0] == alone.shape[1]
        torch.testing.assert_close(together[row, : frames[row]], alone[0], atol=2e-5, rtol=1e-4)


def test_fine_tuning_masks_time_and_channels(small_model, batch):
    model = small_model(**NO_DROPOUT).train()
    seen = []
    model.encoder.register_forward_pre_hook(lambda module, args: seen.append(args[0].detach()))
    inputs = (batch["waveforms"], batch["sample_lengths"])
    plain = model.encode(*inputs)
    torch.manual_seed(0)
    model.encode(*inputs, AugmentOptions(time_prob=0.65))
    torch.manual_seed(0)
    model.encode(*inputs, AugmentOptions(channel_prob=0.5, channel_length=4))
    masked = (seen[1] == model.mask_emb).all(-1)
    assert masked.any() and not (masked & plain.padding).any()
    assert torch.equal(seen[1][~masked], seen[0][~masked])
    zeroed = (seen[2] == 0).all(1)
    share = zeroed.float().mean().item()
    assert 0.1 < share < 0.6 and len(set(zeroed.sum(1).tolist())) == 1


def test_given_draws_are_used(small_model, batch):
    model = small_model().train()
    mask = torch.zeros(3, 74, dtype=torch.bool)
    mask[:, 3:6] = True
    output = model.forward_speech(*speech(batch), draws=SpeechDraws(mask, mask, 0))
    assert torch.equal(output.masked, mask) and not output.swapped.any()
    assert output.n_masked == 9


def test_very_short_batch_trains(small_model):
    model = small_model(label_rate=50).train()
    loss, stats, weight = model(
        torch.randn(2, 720), torch.tensor([720, 400]), torch.tensor([[5, 6], [7, 1]])
    )
    loss.backward()
    assert torch.isfinite(loss)


def test_tiny_config_runs(batch):
    model = SpeechLM(SpeechLMConfig.tiny(), 20, 12).train()
    loss, _, _ = model(**batch)
    loss.backward()
    assert torch.isfinite(loss)


@pytest.mark.parametrize("path", ["kernels", "plain"])
@pytest.mark.parametrize("size", ["base", "large"])
def test_the_backward_pass_may_be_inside_autocast(small_model, batch, path, size):
    large = {"pre_norm": True, "conv_norm": "layer"} if size == "large" else {}
    model = small_model(attention_dropout=0.0, dropout=0.0, input_dropout=0.0, **large)
    model.eval()
    gradients = []
    for inside in (False, True):
        torch.manual_seed(0)
        model.zero_grad()
        with kernels.plain() if path == "plain" else nullcontext():
            with torch.autocast("cpu", torch.bfloat16):
                loss, _, _ = model(**batch)
                if inside:
                    loss.backward()
            if not inside:
                loss.backward()
        parts = [p.grad.flatten() for p in model.parameters() if p.grad is not None]
        gradients.append(torch.cat(parts))
    assert torch.cosine_similarity(*gradients, dim=0) > 0.999
