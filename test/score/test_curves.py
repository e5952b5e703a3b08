"""Learning curves from logs: places on the axes, resumed trainings, several seeds, the picture."""

import datetime

import numpy as np
import pytest

from speechlm.pictures.look import read_about
from speechlm.score.curves import TrainingLog, reached, read_curve, read_panels


def logs(folders):
    """The logs of folders."""
    return [TrainingLog(folder) for folder in folders]


START = datetime.datetime(2026, 1, 1)


def log_lines(epochs, start=START, first=1, batches=100, cpu=20.0, cut=False):
    """Lines as ESPnet's trainer and ours write them: 30 s of updates an epoch, 5 s of validation.

    `epochs`: accuracy of the validation of each. Training's stretches are after 50 and all batches.
    """
    lines = []

    def add(seconds, text):
        time = start + datetime.timedelta(seconds=seconds)
        stamp = time.strftime("%Y-%m-%d %H:%M:%S,") + f"{time.microsecond // 1000:03d}"
        lines.append(f"{stamp} (trainer:1) INFO: {text}\n")

    for place, accuracy in enumerate(epochs):
        n, begin = first + place, 35.0 * place
        add(begin, f"{n}/9epoch started. Estimated time to finish: 3 minutes and 39.77 seconds")
        for last, seconds in ((50, 12), (batches, 30)):
            stats = (
                f"iter_time=0.004, loss=5.068, accuracy_top={accuracy / 2 + last / 1000:.3f}, a=1"
            )
            add(begin + seconds, f"{n}epoch:train:{last - 49}-{last}batch: {stats}")
        add(begin + 30, f"{n}epoch:train: cpu_seconds={cpu:.2f}")
        if cut and place == len(epochs) - 1:
            break
        add(begin + 35, f"{n}epoch:valid: cpu_seconds=4.00")
        add(
            begin + 35,
            f"{n}epoch results: [train] accuracy_top=0.9, loss=1.2e+03, time=30 seconds, "
            f"total_count={n * batches}, [valid] accuracy_top={accuracy:.3f}, loss=nan, "
            f"time=1 minute and 5 seconds, total_count={n * 7}",
        )
    return "".join(lines)


@pytest.fixture
def folder(tmp_path):
    def make(name, *parts):
        (tmp_path / name).mkdir()
        (tmp_path / name / "train.log").write_text("PretrainModel(\n" + "".join(parts))
        return tmp_path / name

    return make


@pytest.mark.parametrize(
    ("axis", "training", "validation"),
    [
        ("cpu", [10, 20, 30, 40], [20, 40]),
        ("wall", [12, 30, 42, 60], [30, 60]),  # without validation
        ("updates", [50, 100, 150, 200], [100, 200]),
    ],
)
def test_places_are_of_training_alone(folder, axis, training, validation):
    log = TrainingLog(folder("one", log_lines([0.2, 0.4])))
    found = log.curve("accuracy_top", axis)
    assert [point[0] for point in found[0]] == pytest.approx(training)
    assert [point[0] for point in found[1]] == pytest.approx(validation)
    assert [point[2] for point in found[0]] == pytest.approx([0.15, 0.2, 0.25, 0.3])
    assert [point[2] for point in found[1]] == [0.2, 0.4]


def test_an_epoch_that_was_begun_again_counts_once(folder):
    later = START + datetime.timedelta(hours=5)
    killed = folder("killed", log_lines([0.2, 0.9], cut=True), log_lines([0.4], later, first=2))
    whole = TrainingLog(folder("whole", log_lines([0.2, 0.4])))
    again = TrainingLog(folder("again", log_lines([0.7, 0.8]), log_lines([0.2, 0.4], later)))
    for axis in ("cpu", "wall", "updates"):
        expected = whole.curve("accuracy_top", axis)
        assert TrainingLog(killed).curve("accuracy_top", axis) == expected
        assert again.curve("accuracy_top", axis) == expected


def test_seeds_are_averaged_where_all_have_a_value(folder):
    folders = [
        folder("a", log_lines([0.2, 0.4, 0.9], cpu=20)),
        folder("b", log_lines([0.3, 0.5], cpu=22)),
    ]
    points = read_curve("both", logs(folders), "accuracy_top", "cpu").validation
    assert points.x == pytest.approx([21, 42]) and points.y == pytest.approx([0.25, 0.45])
    assert points.low == pytest.approx([0.2, 0.4]) and points.high == pytest.approx([0.3, 0.5])
    odd = folder("odd", log_lines([0.3], batches=70))
    with pytest.raises(ValueError, match="both: its trainings have no number of batches in common"):
        read_curve("both", logs([folders[0], odd]), "accuracy_top", "cpu")


def test_what_a_log_lacks_is_said(folder):
    old = folder("old", log_lines([0.2]).replace("cpu_seconds", "x"))
    assert TrainingLog(old).curve("accuracy_top", "updates")
    for axis in ("cpu", "wall"):
        with pytest.raises(
            ValueError, match=r"old/train\.log says nothing of CPU seconds.*--x upd"
        ):
            TrainingLog(old).curve("accuracy_top", axis)
    with pytest.raises(ValueError, match="validation has no wer; it has accuracy_top loss"):
        TrainingLog(old).curve("wer", "updates")
    with pytest.raises(ValueError, match=r"no finished epoch"):
        TrainingLog(folder("cut", log_lines([0.2], cut=True)))
    with pytest.raises(ValueError, match=r"from the first on, it lacks \[1\]"):
        TrainingLog(folder("late", log_lines([0.2], first=2)))


@pytest.mark.parametrize(
    "stretch",
    [
        "loss=5.613accuracy_top=0.078, optim0_lr0=4.0e-04",
        "accuracy_top=0.078loss=1.2e+03, optim0_lr0=4.000e-04",
        "loss=nanaccuracy_top=7.800e-02optim0_lr0=0.000",
    ],
)
def test_the_comma_that_espnet_leaves_out(folder, stretch):
    """Its SubReporter does so before the n-th value after n batches."""
    line = f"2026-01-01 00:00:03,000 (trainer:811) INFO: 1epoch:train:1-4batch: {stretch}\n"
    lines = log_lines([0.2]).split("\n", 1)
    path = folder("one", lines[0] + "\n" + line + lines[1])
    training, _ = TrainingLog(path).curve("accuracy_top", "updates")
    assert training[0] == (4, 4, 0.078)
    assert len(TrainingLog(path).curve("loss", "updates")[0]) == 3


@pytest.mark.parametrize("sign", [1, -1])
def test_when_the_first_ones_end_is_reached(folder, sign):
    """A rate falls as an accuracy rises."""
    values = {"slow": [0.1, 0.2, 0.3], "fast": [0.2, 0.4, 0.5], "never": [0.1, 0.1, 0.2]}
    shown = {k: [v if sign > 0 else 1 - v for v in vs] for k, vs in values.items()}
    curves = [
        read_curve(name, logs([folder(name, log_lines(shown[name]))]), "accuracy_top", "cpu")
        for name in values
    ]
    rows = [line.strip("|").split("|") for line in reached(curves, "cpu").splitlines()[2:]]
    assert [row[0] for row in rows] == ["slow", "fast", "never"]
    assert [row[3:] for row in rows] == [["60", "1.00"], ["30", "0.50"], ["-", "-"]]


def test_the_command_draws_both_panels(folder, run_main, tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    lines = log_lines([0.2, 0.4]).replace("loss=nan", "accuracy_middle=0.1")
    places = [folder("a", lines), folder("b", lines), folder("c", lines)]
    curves = [f"fast:{places[0]}", f"fast:{places[1]}", f"paper:{places[2]}"]
    kept = []
    save = Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda self, *a, **k: (kept.append(self), save(self, *a, **k))[1]
    )
    picture = tmp_path / "curves.png"
    done = run_main("plot_curves", "--curves", *curves, "--output", picture)
    assert done.returncode == 0, done.stderr
    assert picture.read_bytes().startswith(b"\x89PNG")
    middle, top = kept[0].axes
    named = [axes.get_ylabel() for axes in (middle, top)]
    assert named == ["masked accuracy, middle layer", "masked accuracy, top layer"]
    assert [t.get_text() for t in kept[0].legends[0].get_texts()] == ["fast", "paper"]
    validation, training, *_ = top.get_lines()
    assert np.allclose(validation.get_xydata(), [(20, 0.2), (40, 0.4)])
    assert np.allclose(training.get_xdata(), [10, 20, 30, 40])
    assert "|paper|0.400|40|40|1.00|" in done.stdout and "CPU seconds" in top.get_xlabel()


def test_the_caption_tells_of_thin_lines_where_there_are_some(folder, run_main, tmp_path):
    """Error rates, which are of validation alone, have none; of one stretch there is no line."""
    training = folder("a", log_lines([0.2, 0.4]).replace("[valid] ", "[valid] cer_ctc=0.3, "))
    lines = log_lines([0.2])
    short = folder("b", *(line for line in lines.splitlines(True) if "train:1-50batch" not in line))
    for place, value, thin in (
        (training, "accuracy_top", True),
        (training, "cer_ctc", False),
        (short, "accuracy_top", False),
    ):
        picture = tmp_path / f"{place.name}_{value}.png"
        words = ["--curves", f"a:{place}", "--values", value, "--output", picture]
        done = run_main("plot_curves", *words)
        assert done.returncode == 0, done.stderr
        assert ("Thin lines" in read_about(picture).caption) == thin


def test_a_value_is_drawn_of_the_trainings_that_have_it(folder, run_main, tmp_path):
    text = log_lines([0.2, 0.4]).replace("loss=nan", "loss_ctc=1.5")
    trainings = {"speech": [folder("a", log_lines([0.2, 0.3]))], "text": [folder("b", text)]}
    panels = read_panels(trainings, ["accuracy_top", "loss_ctc"], "cpu")
    named = {value: [curve.name for curve in curves] for value, curves in panels.items()}
    assert named == {"accuracy_top": ["speech", "text"], "loss_ctc": ["text"]}
    with pytest.raises(
        ValueError, match=r"no validation has wer; they have accuracy_top .*loss_ctc"
    ):
        read_panels(trainings, ["wer"], "cpu")
    seeds = {"text": [*trainings["text"], *trainings["speech"]]}
    with pytest.raises(ValueError, match=r"a/train\.log: validation has no loss_ctc"):
        read_panels(seeds, ["loss_ctc"], "cpu")
