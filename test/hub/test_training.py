"""transformers' Trainer fine-tunes the classes."""

import numpy as np
import pytest
import torch


@pytest.mark.parametrize("size", ["base", "fast_base"])
def test_the_trainer_lowers_the_loss(size, exported, waves, transformers, tmp_path):
    pytest.importorskip("accelerate", reason="accelerate, which Trainer needs, is not installed")
    torch.manual_seed(0)
    model = transformers.AutoModelForCTC.from_pretrained(exported(size, "pretrained"))
    processor = transformers.AutoProcessor.from_pretrained(exported(size, "pretrained"))
    sentences = ["A CAT", "NO", "I", "TO GO"]

    def collate(numbers):
        texts = [sentences[n] for n in numbers]
        batch = processor(
            [waves[n] for n in numbers], sampling_rate=16000, padding=True, return_tensors="pt"
        )
        labels = processor(text=texts, padding=True, return_tensors="pt").input_ids
        batch["labels"] = labels.masked_fill(labels == processor.tokenizer.pad_token_id, -100)
        return batch

    options = transformers.TrainingArguments(
        str(tmp_path),
        max_steps=12,
        per_device_train_batch_size=4,
        learning_rate=3e-3,
        logging_steps=1,
        report_to=[],
        save_strategy="no",
        remove_unused_columns=False,
        disable_tqdm=True,
        use_cpu=True,
    )
    trainer = transformers.Trainer(
        model, options, data_collator=collate, train_dataset=list(range(4))
    )
    trainer.train()
    losses = [row["loss"] for row in trainer.state.log_history if "loss" in row]
    assert len(losses) == 12 and np.mean(losses[-3:]) < 0.7 * np.mean(losses[:3])
    trainer.save_model(str(tmp_path / "saved"))
    again = transformers.AutoModelForCTC.from_pretrained(tmp_path / "saved")
    weights = model.state_dict()
    assert all(torch.equal(weights[name], value) for name, value in again.state_dict().items())


def test_gradient_reaches_a_classifier_and_its_encoder(exported, batch, transformers):
    torch.manual_seed(0)
    model = transformers.AutoModelForAudioClassification.from_pretrained(
        exported("fast_base", "pretrained"), num_labels=2
    ).train()
    waveforms, mask, _ = batch
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(8):
        loss = model(waveforms, mask, labels=torch.tensor([0, 1, 0, 1])).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
    without = {name for name, p in model.named_parameters() if p.requires_grad and p.grad is None}
    assert without == {f"network.unit_encoder.layer_norm.{n}" for n in ("weight", "bias")}
