"""ESPnet tasks. Importing this package makes `espnet2` importable (see `torchaudio_cpu`)."""

from speechlm.tasks.torchaudio_cpu import prepare

prepare()
