"""SpeechLM in Hugging Face's transformers, known to its Auto classes once this is imported.

    import speechlm.hub
    from transformers import AutoModel, pipeline

    model = AutoModel.from_pretrained("FOLDER")  # what export_huggingface has written
    recognise = pipeline("automatic-speech-recognition", model="FOLDER")

Nothing that a folder brings is run: there is no code in it, and weights are safetensors.
"""

from __future__ import annotations

from speechlm.checkpoints.torchaudio_cpu import import_torchaudio

import_torchaudio()  # which transformers imports, and which a CPU build of torch cannot load
try:
    import transformers

    found = f"is {transformers.__version__}"
    old = int(transformers.__version__.split(".")[0]) < 5
except ModuleNotFoundError:
    found, old = "is not installed", True
if old:
    raise ModuleNotFoundError(
        f"speechlm.hub needs the package transformers 5 or newer, which {found}",
        name="transformers",
    )

from speechlm.hub.configuration import SpeechLMConfig  # noqa: E402
from speechlm.hub.modeling import SpeechLMForCTC, SpeechLMForSequenceClassification, SpeechLMModel  # noqa: E402
from speechlm.hub.tokenizer import SpeechLMTokenizer  # noqa: E402

__all__ = [
    "SpeechLMConfig",
    "SpeechLMForCTC",
    "SpeechLMForSequenceClassification",
    "SpeechLMModel",
    "SpeechLMTokenizer",
]

transformers.AutoConfig.register(SpeechLMConfig.model_type, SpeechLMConfig, exist_ok=True)
for _auto, _class in (
    (transformers.AutoModel, SpeechLMModel),
    (transformers.AutoModelForCTC, SpeechLMForCTC),
    (transformers.AutoModelForAudioClassification, SpeechLMForSequenceClassification),
    (transformers.AutoFeatureExtractor, transformers.Wav2Vec2FeatureExtractor),
    (transformers.AutoTokenizer, SpeechLMTokenizer),
    (transformers.AutoProcessor, transformers.Wav2Vec2Processor),
):
    _auto.register(SpeechLMConfig, _class, exist_ok=True)
