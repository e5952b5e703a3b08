"""Folders and files of trained models: ours, the authors' and Hugging Face's. Needs no ESPnet."""
