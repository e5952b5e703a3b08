"""Stage 14: draw an utterance: waveform, spectrogram, words, phones, units, predictions.

The predictions are a model's, of the units of masked frames, at the two depths of pre-training. A
second picture has the attention of a layer: a square a head.
"""

from __future__ import annotations

from speechlm.bin._cli import at_least, parser, run


def main() -> None:
    """Mask, predict, draw the pictures."""
    options = parser(__doc__)
    add = options.add_argument
    add("--model", required=True, help="folder of a pre-trained model")
    add("--name", default="the model", help="what the picture calls it")
    add("--data_dir", required=True, help="data directory with text")
    add("--alignments", required=True, help="folder with units.scp of phones of its utterances")
    add("--units", required=True, help="folder with units.scp of the units of the model")
    add("--utterance", help="this one; default: that which lasts nearly 2.6 seconds")
    add("--seed", type=at_least(0), default=1, help="of the masks")
    add("--attention", help="PNG file of the second picture")
    add("--layer", type=at_least(1), help="its layer; default: the last of the Speech Transformer")
    add("--output", required=True, help="PNG file to write")
    args = options.parse_args()

    from speechlm.checkpoints.pretrained import SpeechLM
    from speechlm.pictures.attention import attention_of, draw_attention
    from speechlm.pictures.example import predict, read_example
    from speechlm.pictures.utterance import draw_utterance

    example = read_example(args.data_dir, args.alignments, args.units, args.utterance)
    model = SpeechLM.from_pretrained(args.model)
    draw_utterance(example, predict(model, example, args.seed), args.name, args.output)
    if args.attention:
        layer = args.layer or model.config.speech_layers
        shares = attention_of(model, example.waveform, layer)
        name = f"layer {layer} of {args.name}"
        draw_attention(shares, example, model.framing.seconds, name, args.attention)


if __name__ == "__main__":
    run(main)
