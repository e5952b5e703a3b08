"""Pictures of rates, of a run and over seeds: what stands where, what is refused."""

import sys

from speechlm.data.kaldi_dir import write_table
from speechlm.pictures.look import read_about
from speechlm.pictures.rates import draw_systems, draw_text
from speechlm.score.recognition import Decoding, score_decoding
from speechlm.score.recognition_report import Scored, recognition_sections
from speechlm.score.seed_tables import write_rates
from speechlm.score.seeds import Rate


def rate(system, decoder, metric, *values, test="test"):
    seeds = {None: values[0]} if len(values) == 1 else dict(enumerate(values, 1))
    return Rate((system, decoder), test, metric, seeds, (min(values) - 2.0, max(values) + 1.0))


RATES = [
    rate(system, decoder, metric, *(v + less + (metric == "CER") for v in values))
    for metric in ("WER", "CER")
    for system, values in (
        ("speech", (60.0, 61.0)),
        ("speech_text_text100", (50.0, 49.0)),
        ("speech_text", (30.0, 32.0)),
    )
    for decoder, less in (("greedy", 0.0), ("ngram", -10.0))
] + [rate("HMM", "ngram", metric, 15.0) for metric in ("WER", "CER")]
AMOUNTS = {"speech": 0, "speech_text_text100": 100, "speech_text": 10_000}


def test_each_system_has_a_row_with_a_mark_for_each_decoder(drawn, tmp_path):
    draw_systems(RATES, tmp_path / "rates.png")
    wer, cer = drawn[0].axes
    assert (wer.get_xlabel(), cer.get_xlabel()) == ("WER (%)", "CER (%)")
    names = [label.get_text() for label in wer.get_yticklabels()]
    assert names == ["speech", "speech_text_text100", "speech_text", "HMM"]
    shown = {text.get_text(): text.xy for text in wer.texts}
    assert set(shown) == {"60.5", "50.5", "49.5", "39.5", "31.0", "21.0", "15.0"}
    rows = [shown[rate][1] for rate in ("60.5", "50.5", "49.5", "39.5", "31.0", "21.0", "15.0")]
    assert rows == [0, 1, 2.5, 3.5, 5, 6, 7.5]
    assert list(wer.get_yticks()) == [0.5, 3, 5.5, 7.5]
    bars = [line.get_xdata() for line in wer.get_lines() if len(line.get_xdata()) == 2]
    assert any(list(bar) == [58.0, 62.0] for bar in bars)
    assert (tmp_path / "rates.png").read_bytes().startswith(b"\x89PNG")


def test_no_text_has_a_place_before_the_smallest_amount(drawn, tmp_path):
    draw_text(RATES, AMOUNTS, tmp_path / "text.png")
    wer, _ = drawn[0].axes
    assert [label.get_text() for label in wer.get_xticklabels()] == ["0", "100", "10,000"]
    zero, few, all_lines = wer.get_xticks()
    assert (few, all_lines) == (2.0, 4.0) and zero <= 1.5
    greedy = next(line for line in wer.get_lines() if list(line.get_ydata()) == [60.5, 49.5, 31.0])
    assert list(greedy.get_xdata()) == [zero, few, all_lines]
    seeds = [list(line.get_ydata()) for line in wer.get_lines()]
    assert [30.0, 32.0] in seeds and [15.0] not in seeds


def test_the_commands_draw_from_the_table(drawn, run_main, tmp_path):
    other = [rate("speech", "greedy", "WER", 1.0, 2.0, test="other")]
    write_rates(tmp_path / "rates.tsv", [*RATES, *other])
    (tmp_path / "train.txt").write_text("A B\n" * 321)
    table = ("--rates", tmp_path / "rates.tsv", "--output", tmp_path / "out.png", "--test")
    assert run_main("plot_rates", *table, "test", "--systems", "HMM", "speech").returncode == 0
    names = [label.get_text() for label in drawn[0].axes[0].get_yticklabels()]
    assert names == ["HMM", "speech"]
    amounts = ("0:speech", "100:speech_text_text100", "all:speech_text")
    done = run_main(
        *("plot_text", *table, "test", "--text", tmp_path / "train.txt"), "--amounts", *amounts
    )
    assert done.returncode == 0, done.stderr
    assert drawn[1].axes[0].get_xticklabels()[-1].get_text() == "321"
    for words, message in (
        (("plot_rates", *table, "dev"), "has no rates of dev; it has those of other test"),
        (("plot_rates", *table, "test", "--systems", "x"), "has no x on test; it has speech "),
        (("plot_text", *table, "test", "--amounts", "all:speech"), "--text is needed"),
        (("plot_text", *table, "test", "--amounts", "1k:speech"), "a number of lines or 'all'"),
        (("plot_text", *table, "test", "--amounts", "0:speech"), "two or more different amounts"),
    ):
        done = run_main(*words)
        assert done.returncode == 1 and message in done.stderr, done.stderr


def test_without_matplotlib_the_command_says_what_brings_it(run_main, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    write_rates(tmp_path / "rates.tsv", RATES)
    table = ("--rates", tmp_path / "rates.tsv", "--test", "test")
    done = run_main("plot_rates", *table, "--output", tmp_path / "out" / "rates.png")
    assert done.returncode == 1 and "pip install 'speechlm[pictures]' brings it" in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_runs_rates_have_the_intervals_of_its_report(drawn, run_main, tmp_path):
    """Systems stand in the order that is given, each with as many rows as it has decoders."""
    words = [f"w{n}" for n in range(5)]
    reference = {f"u{n:02d}": " ".join(words) for n in range(20)}
    write_table(tmp_path / "ref", reference)
    for name, wrong in (("good", 10), ("bad", 2)):
        said = {u: " ".join(words[n % wrong == 0 :]) for n, u in enumerate(reference)}
        write_table(tmp_path / "hyp", said)
        (tmp_path / name).mkdir()
        score_decoding(Decoding(tmp_path / "ref", tmp_path / "hyp"), "test", tmp_path / name)
    scores = [f"two:greedy:test:{tmp_path}/bad", f"two:ngram:test:{tmp_path}/good"]
    scores.append(f"one:greedy:test:{tmp_path}/bad")
    done = run_main("plot_rates", "--scores", *scores, "--output", tmp_path / "rates.png")
    assert done.returncode == 0, done.stderr
    wer = drawn[0].axes[0]
    assert [label.get_text() for label in wer.get_yticklabels()] == ["two", "one"]
    assert sorted({text.xy[1] for text in wer.texts}) == [0, 1, 2.5]
    bad = Scored("two", "greedy", "test", tmp_path / "bad")
    details = recognition_sections([bad], 1000, 1)[1]["Decoding of test"]
    bars = [line.get_xdata() for line in wer.get_lines() if len(line.get_xdata()) == 2]
    low, high = bars[0]
    assert f"|10.0 [{low:.1f}, {high:.1f}]|" in details and low < 10 < high
    about = read_about(tmp_path / "rates.png")
    assert about.title == "Rates of test with intervals" and "over utterances." in about.caption
    wrong = (
        ((), "--scores expected, or --rates and --test"),
        (("--scores", scores[0], f"one:greedy:other:{tmp_path}/bad"), "got those of other test"),
    )
    for words, message in wrong:
        done = run_main("plot_rates", *words, "--output", tmp_path / "no.png")
        assert done.returncode == 1 and message in done.stderr
