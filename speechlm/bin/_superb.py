"""What the mains of SUPERB share: the tasks, and how an upstream is named."""

TASKS = ("pr", "asr", "ks", "ic", "sid", "qbe", "sf", "asv", "sd", "er")
UPSTREAM = (
    "fbank, mfcc, folder of a SpeechLM or of a Hugging Face HuBERT, WavLM or wav2vec 2.0, or "
    "random:FOLDER, the same network with random weights"
)
