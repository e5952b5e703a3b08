"""SpeechLM-Fast as a whole: labels, losses, gradients, and that it learns."""

import pytest
import torch

from speechlm import kernels
from speechlm.conventions import EOS, PAD, SAMPLE_RATE
from speechlm.models import AugmentOptions, SpeechDraws, SpeechLM
from speechlm.models.heads import HEADS, PREDICTIONS
from speechlm.models.without_heads import without_heads

NO_DROPOUT = {"dropout": 0.0, "ctc_dropout": 0.0, "speech_layerdrop": 0.0, "shared_layerdrop": 0.0}


def speech(batch):
    return batch["waveforms"], batch["sample_lengths"], batch["labels"]


def labels_of(lengths, shift):
    """Labels that differ from frame to frame, as many as `lengths` samples have, PAD behind."""
    counts = [(length - 400) // shift + 1 for length in lengths]
    labels = torch.full((len(counts), max(counts)), PAD)
    for row, count in enumerate(counts):
        labels[row, :count] = 4 + torch.arange(count) % 16
    return labels


@pytest.mark.parametrize("subsampling", [2, 4])
@pytest.mark.parametrize("rate", [50, 100])
def test_the_label_of_a_frame_is_the_one_in_its_middle(fast_model, batch, subsampling, rate):
    model = fast_model(subsampling=subsampling, label_rate=rate).train()
    waveforms, lengths = batch["waveforms"], batch["sample_lengths"]
    labels = labels_of(lengths.tolist(), SAMPLE_RATE // rate)
    expected = torch.full((3, model.framing.frames(24000)), PAD)
    for row, frames in enumerate(model.framing.frames(lengths).tolist()):
        for frame in range(frames):
            # The centre of what the frame is made of, and of what label n describes: 25 ms from
            # n / rate on. Where two labels are as near, it is the later one.
            centre = frame * model.framing.shift + model.framing.window / 2
            distance = [
                (abs(n * SAMPLE_RATE / rate + 200 - centre), -n) for n in range(labels.shape[1])
            ]
            expected[row, frame] = labels[row, min(range(len(distance)), key=distance.__getitem__)]
    for seed in range(5):
        torch.manual_seed(seed)
        assert torch.equal(model.forward_speech(waveforms, lengths, labels).targets, expected)


def test_a_given_offset_is_used(fast_model, batch):
    model = fast_model().train()
    output = model.forward_speech(*speech(batch), draws=SpeechDraws(label_offset=0))
    expected = batch["labels"][:, ::4][:, :37]
    valid = torch.arange(37) < model.framing.frames(batch["sample_lengths"])[:, None]
    assert torch.equal(output.targets, expected.where(valid, PAD))


def test_there_is_no_dropout_that_cannot_be_turned_off(fast_model, batch):
    model = fast_model(**NO_DROPOUT).train()
    trained = model.encode(batch["waveforms"], batch["sample_lengths"]).features
    torch.testing.assert_close(
        trained, model.extract_features(batch["waveforms"], batch["sample_lengths"])[0]
    )
    for name in ("dropout", "attention_dropout", "activation_dropout"):
        model = fast_model(**NO_DROPOUT | {name: 0.3}).train()
        features = [model.encode(batch["waveforms"]).features for _ in range(2)]
        assert not torch.equal(*features), name


@pytest.mark.parametrize("missing", [1, 2])
def test_a_frame_whose_middle_label_is_missing_counts_nowhere(fast_model, missing):
    """Labels may be one fewer than the audio has; the last frame has its middle one all the same.

    With two fewer the middle one is padding: such a frame is neither masked, swapped nor scored.
    """
    model = fast_model(**NO_DROPOUT, unmasked_weight=1.0).train()
    lengths = torch.tensor([400 + 160 * 43] * 2)  # 44 labels, 11 frames
    waveforms = torch.randn(2, int(lengths[0]))
    labels = labels_of(lengths.tolist(), 160)
    labels[1, 44 - missing :] = PAD
    for seed in range(8):
        torch.manual_seed(seed)
        output = model.forward_speech(waveforms, lengths, labels)
        assert output.targets.shape == (2, 11)
        kept = missing == 1
        assert (output.targets[1, 10] != PAD) == kept and (output.targets[:, :10] != PAD).all()
        scored = output.n_masked + output.unmasked[0].logits.shape[0]
        assert scored == 22 - (not kept)
        assert kept or not (output.masked | output.swapped)[1, 10]
        loss, _, weight = model.total_loss(output)
        assert torch.isfinite(loss) and weight == scored


def test_a_frame_of_padding_alone_has_no_influence(fast_model):
    """Its state is seen by nobody: neither by attention nor by the convolutions."""
    model = fast_model(**NO_DROPOUT).train()
    lengths = torch.tensor([400 + 160 * 43] * 2)
    waveforms = torch.randn(2, int(lengths[0]))
    labels = labels_of(lengths.tolist(), 160)
    labels[1, 42:] = PAD
    mask = torch.zeros(2, 11, dtype=torch.bool)
    mask[:, 3:5] = True
    draws, tops = SpeechDraws(mask, torch.zeros_like(mask)), []
    for value in (0.0, 9.0):

        def overwrite(module, args, output, value=value):
            output.last[1, 10] = value

        hook = model.encoder.register_forward_hook(overwrite)
        with torch.no_grad():
            tops.append(model.forward_speech(waveforms, lengths, labels, draws=draws).top.logits)
        hook.remove()
    assert len(tops[0]) == 4
    torch.testing.assert_close(*tops)


@pytest.mark.parametrize("subsampling, rate", [(2, 50), (2, 100), (4, 50), (4, 100)])
def test_unit_predictions_alone_as_in_a_batch(fast_model, batch, subsampling, rate):
    """Also where labels are left over behind the last whole frame, as one may name a frame."""
    model = fast_model(**NO_DROPOUT, subsampling=subsampling, label_rate=rate).train()
    for rest in range(0, 640, 160):
        lengths = torch.tensor([24000, 400 + 160 * 60 + rest])
        waveforms = batch["waveforms"][:2] * (torch.arange(24000) < lengths[:, None])
        labels = labels_of(lengths.tolist(), SAMPLE_RATE // rate)
        count = int((labels[1] != PAD).sum())
        frames = int(model.framing.frames(lengths[1]))
        mask = torch.zeros(2, model.framing.frames(24000), dtype=torch.bool)
        mask[:, 4:9] = mask[:, frames - 2 : frames] = True
        swap = mask.roll(-2, 1) & ~mask
        both = model.forward_speech(waveforms, lengths, labels, draws=SpeechDraws(mask, swap))
        draws = SpeechDraws(mask[1:, :frames], swap[1:, :frames])
        alone = model.forward_speech(
            waveforms[1:, : lengths[1]], lengths[1:], labels[1:, :count], draws=draws
        )
        assert alone.targets.shape == (1, frames) and (alone.targets != PAD).all()
        assert (both.targets[1, frames:] == PAD).all()
        for name in ("middle", "top"):
            found, expected = getattr(both, name).logits[7:], getattr(alone, name).logits
            torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-4)


def test_an_utterance_of_one_frame_without_label_is_finite(fast_model):
    model = fast_model(**NO_DROPOUT, label_rate=50).train()
    labels = torch.tensor([[5, 6, 7, 8, 9, 10], [5, PAD, PAD, PAD, PAD, PAD]])
    loss, _, _ = model(torch.randn(2, 2800), torch.tensor([2800, 880]), labels)
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


@pytest.mark.parametrize("subsampling", [2, 4])
@pytest.mark.parametrize("kernel", [1, 7])
def test_alone_as_in_a_batch(fast_model, batch, subsampling, kernel):
    model = fast_model(subsampling=subsampling, depthwise_kernel=kernel)
    lengths = torch.tensor([24000, 16519, 9281])
    waveforms = batch["waveforms"] * (torch.arange(24000) < lengths[:, None])
    together, frames = model.extract_features(waveforms, lengths)
    logits = model.eval().ctc_logits(model.encode(waveforms, lengths))
    for row, length in enumerate(lengths.tolist()):
        alone, count = model.extract_features(waveforms[row : row + 1, :length])
        assert frames[row] == count[0] == alone.shape[1] == model.framing.frames(length)
        torch.testing.assert_close(together[row, : frames[row]], alone[0], atol=2e-5, rtol=1e-4)
        outputs = int(frames[row]) * model.config.ctc_outputs
        expected = model.ctc_logits(model.encode(waveforms[row : row + 1, :length]))[0]
        torch.testing.assert_close(logits[row, :outputs], expected[:outputs], atol=2e-5, rtol=1e-4)


def test_text_alone_as_in_a_batch(fast_model, batch):
    model = fast_model().eval()
    units, characters = batch["units"], batch["characters"]
    mask = torch.zeros_like(units, dtype=torch.bool)
    together = model.forward_text(units, characters, mask).logits
    alone = model.forward_text(units[1:, :45], characters[1:], mask[1:, :45]).logits
    torch.testing.assert_close(together[1, :90], alone[0, :90], atol=2e-5, rtol=1e-4)


def test_text_has_as_many_ctc_outputs_a_unit_as_speech_a_frame(fast_model, batch):
    """The same head over the same states: units that stand for frames give the same characters."""
    model = fast_model(**NO_DROPOUT).eval()
    encoded = model.encode(batch["waveforms"][:1])
    of_speech = model.ctc_logits(encoded)
    assert of_speech.shape == (1, 2 * (encoded.features.shape[1] + 1), 12)
    states = []
    model.unit_encoder.register_forward_hook(lambda m, a, output: states.append(output.last))
    units, characters = batch["units"], batch["characters"]
    text = model.forward_text(units, characters)
    assert text.logits.shape == (2, 2 * 61, 12)
    torch.testing.assert_close(model.unit_encoder_ctc_head(states[0]), text.logits)
    # Speech whose every frame is swapped for its unit is text of these units.
    every = torch.ones(1, 60, dtype=torch.bool)
    shown = []
    model.unit_encoder.register_forward_pre_hook(lambda m, args: shown.append(args[0]))
    model.forward_text(units[:1], characters[:1], ~every)
    samples = 400 + 160 * (4 * 60 - 1)
    model.forward_speech(
        torch.randn(1, samples),
        torch.tensor([samples]),
        units[:1].repeat_interleave(4, 1),
        draws=SpeechDraws(~every, every),
    )
    assert torch.equal(shown[0], shown[1])


@pytest.mark.parametrize("subsampling, fits", [(2, False), (4, True)])
def test_two_outputs_a_frame_hold_twice_the_characters(fast_model, subsampling, fits):
    model = fast_model(subsampling=subsampling).eval()
    units = torch.tensor([[5, 6, 7, EOS]])
    characters = torch.tensor([[4, 5, 6, 7, 8, 9, 10, EOS]])
    text = model.forward_text(units, characters, torch.zeros(1, 4, dtype=torch.bool))
    assert text.n_impossible == (not fits) and (text.ctc > 0) == fits


def test_statistics_and_weight(fast_model, batch):
    torch.manual_seed(0)
    model = fast_model(**NO_DROPOUT, unmasked_weight=0.5).train()
    spoken = model.forward_speech(*speech(batch))
    text = model.forward_text(batch["units"], batch["characters"])
    loss, _, weight = model.total_loss(spoken, text)
    middle, top = spoken.unmasked
    count = spoken.n_masked + middle.logits.shape[0]
    entropy = spoken.middle.loss + spoken.top.loss + 0.5 * (middle.loss + top.loss)
    expected = entropy / count + model.config.text_ctc_weight * text.ctc / text.n_tokens
    assert weight == count and model.config.feature_penalty_weight == 0
    torch.testing.assert_close(loss, expected)


@pytest.mark.parametrize("joint", [False, True])
def test_which_weights_have_no_gradient(fast_model, batch, joint):
    """Speech alone trains all but the CTC head: DistributedDataParallel must be told of it."""
    torch.manual_seed(0)
    model = fast_model(**NO_DROPOUT).train()
    (model(**batch) if joint else model(*speech(batch)))[0].backward()
    without = {name for name, p in model.named_parameters() if p.grad is None}
    head = {name for name, _ in model.named_parameters() if name.startswith("unit_encoder_ctc_")}
    assert without == (set() if joint else head) and len(head) == 5
    for name, parameter in model.named_parameters():
        if name not in without:
            assert torch.isfinite(parameter.grad).all() and parameter.grad.any(), name


def test_a_dropped_layer_and_a_batch_without_swaps(fast_model, batch):
    """A dropped layer has no gradient; unit embeddings have one of zeros where none is swapped."""
    model = fast_model(**NO_DROPOUT | {"shared_layerdrop": 1.0}, swap_prob=0.0).train()
    model(*speech(batch))[0].backward()
    without = {name for name, p in model.named_parameters() if p.grad is None}
    prefixes = ("unit_encoder_ctc_head.", "unit_encoder.layers.")
    assert without == {n for n, _ in model.named_parameters() if n.startswith(prefixes)}
    assert not model.unit_embed_tokens.weight.grad.any()


def loss_and_gradients(model, batch, enabled=False):
    model.zero_grad()
    torch.manual_seed(0)
    with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
        loss, stats, _ = model(**batch)
    loss.backward()
    return stats, {name: p.grad.clone() for name, p in model.named_parameters()}


@pytest.mark.parametrize("changes", [{}, {"subsampling": 2}, {"depthwise_kernel": 1}])
def test_kernels_give_what_torchs_operations_give(fast_model, batch, changes):
    model = fast_model(**NO_DROPOUT, **changes, unmasked_weight=0.5).train().double()
    stats, gradients = loss_and_gradients(model, batch)
    with kernels.plain():
        expected_stats, expected = loss_and_gradients(model, batch)
    for name in stats:
        torch.testing.assert_close(stats[name], expected_stats[name])
    for name in gradients:
        torch.testing.assert_close(gradients[name], expected[name], atol=1e-7, rtol=1e-5)


def test_bfloat16_is_close_to_float32(fast_model, batch):
    model = fast_model(**NO_DROPOUT, unmasked_weight=0.5).train()
    exact, exact_gradients = loss_and_gradients(model, batch)
    half, half_gradients = loss_and_gradients(model, batch, True)
    for name in ("loss", "loss_middle", "loss_top", "loss_ctc"):
        assert abs(exact[name] - half[name]) < 0.01 * exact[name], name
    assert all(g.dtype == torch.float32 for g in half_gradients.values())
    exact_flat, half_flat = (
        torch.cat([g.flatten() for g in gradients.values()])
        for gradients in (exact_gradients, half_gradients)
    )
    assert torch.cosine_similarity(exact_flat, half_flat, dim=0) > 0.98


def test_masks_of_fine_tuning_and_features_of_each_layer(fast_model, batch):
    model = fast_model(**NO_DROPOUT).train()
    seen = []
    model.encoder.register_forward_pre_hook(lambda module, args: seen.append(args[0].detach()))
    inputs = batch["waveforms"], batch["sample_lengths"]
    plain = model.encode(*inputs)
    model.encode(*inputs, AugmentOptions(time_prob=0.65, time_length=3))
    masked = (seen[1] == model.mask_emb).all(-1)
    assert masked.any() and not (masked & plain.padding).any()
    assert torch.equal(seen[1][~masked], seen[0][~masked])
    layers, frames = model.extract_features(*inputs, layers="all")
    assert len(layers) == 4 and {tuple(x.shape) for x in layers} == {(3, 37, 32)}
    assert frames.tolist() == model.framing.frames(inputs[1]).tolist() == [37, 25, 13]


def test_what_is_too_short_is_said_in_samples(fast_model):
    with pytest.raises(ValueError, match=r"879 samples are shorter than one frame \(880\)"):
        fast_model().extract_features(torch.zeros(1, 879))
    with pytest.raises(ValueError, match=r"from 880 \(one frame\) to 2000"):
        fast_model().extract_features(torch.zeros(2, 2000), [2000, 879])


@pytest.mark.parametrize("keep_ctc, gone", [(False, HEADS), (True, PREDICTIONS)])
def test_heads_can_be_taken_out(fast_model, batch, keep_ctc, gone):
    full, left = fast_model(), without_heads(fast_model(), keep_ctc)
    expected = {name for name in full.state_dict() if not name.startswith(gone)}
    assert left.state_dict().keys() == expected
    found, _ = left.extract_features(batch["waveforms"])
    assert torch.equal(found, full.extract_features(batch["waveforms"])[0])


def test_initial_scores_are_nearly_equal(fast_model, batch):
    """Both depths begin at the loss of a guess, log V, and states neither grow nor vanish."""
    model = fast_model(**NO_DROPOUT).train()
    _, stats, _ = model(*speech(batch))
    guess = torch.tensor(20.0).log()
    assert abs(stats["loss_middle"] - guess) < 0.2 and abs(stats["loss_top"] - guess) < 0.2
    layers = model.extract_features(batch["waveforms"], layers="all")[0]
    assert all(0.3 < layer.std() < 5 for layer in layers)


LETTERS = 8


def melody(generator, rows, letters, shortest, longest):
    """Sequences of letters, no two equal ones in a row, each with how long it lasts."""
    steps = torch.randint(1, LETTERS, (rows, letters), generator=generator)
    durations = torch.randint(shortest, longest + 1, (rows, letters), generator=generator)
    return steps.cumsum(1) % LETTERS, durations


def spoken(generator, rows):
    """Waveforms, lengths and labels of 10 ms: each letter is a tone of 80 to 160 ms."""
    waveforms, labels = [], []
    for sequence, durations in zip(*melody(generator, rows, 10, 8, 16), strict=True):
        of_frames = sequence.repeat_interleave(durations)
        samples = 400 + 160 * (len(of_frames) - 1)
        hertz = 250.0 * 1.5 ** of_frames.float().repeat_interleave(160)
        hertz = torch.cat([hertz, hertz[-1:].expand(400)])[:samples]
        wave = (2 * torch.pi * hertz / SAMPLE_RATE).cumsum(0).sin()
        waveforms.append(0.1 * wave + 0.005 * torch.randn(samples, generator=generator))
        labels.append(4 + of_frames)
    lengths = torch.tensor([len(wave) for wave in waveforms])
    pad = torch.nn.utils.rnn.pad_sequence
    return pad(waveforms, True), lengths, pad(labels, True, PAD)


def written(generator, rows):
    """Units of 40 ms, two to four a letter, and the letters as characters."""
    units, characters, end = [], [], torch.tensor([EOS])
    for sequence, durations in zip(*melody(generator, rows, 10, 2, 4), strict=True):
        units.append(torch.cat([4 + sequence.repeat_interleave(durations), end]))
        characters.append(torch.cat([4 + sequence, end]))
    pad = torch.nn.utils.rnn.pad_sequence
    return pad(units, True, PAD), pad(characters, True, PAD)


def test_joint_training_learns(fast_config):
    """200 updates of a very small model: units of new tones, and letters of new text."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    masks = {"mask_prob": 0.3, "mask_length": 2, "swap_prob": 0.3, "swap_length": 2}
    layers = {"speech_layers": 1, "shared_layers": 1}
    config = fast_config(**NO_DROPOUT, **masks, **layers, unmasked_weight=1.0, text_ctc_weight=0.5)
    model = SpeechLM(config, 4 + LETTERS, 4 + LETTERS).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3, betas=(0.9, 0.98))
    history = []
    for step in range(200):
        optimizer.param_groups[0]["lr"] = 5e-3 * min(1.0, (step + 1) / 20) * (1 - step / 200)
        loss, stats, _ = model(*spoken(generator, 4), *written(generator, 8))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(stats)
    names = ("loss_middle", "loss_top", "loss_ctc", "accuracy_middle", "accuracy_top")
    first, last = (
        {name: sum(float(stats[name]) for stats in part) / len(part) for name in names}
        for part in (history[:5], history[-20:])
    )
    assert last["loss_middle"] < 0.5 * first["loss_middle"], (first, last)
    assert last["loss_top"] < 0.5 * first["loss_top"], (first, last)
    assert last["loss_ctc"] < 0.4 * first["loss_ctc"], (first, last)
    # A guess is right once in eight; letters of text are not all the same blank.
    assert min(last["accuracy_middle"], last["accuracy_top"]) > 0.6, last
    assert last["loss_ctc"] < 2.0, last
