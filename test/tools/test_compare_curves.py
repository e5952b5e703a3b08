import subprocess
import sys

LINES = """
(trainer:811) INFO: 1epoch:train:1-50batch: iter_time=0.004, loss_middle=5.068, loss={a}, lr=1
(trainer:394) INFO: 1epoch results: [train] loss=9.9, time=3, [valid] loss_top=1.9, loss={b}, n=2
"""


def run(root, *logs):
    return subprocess.run(
        [sys.executable, root / "tools" / "compare_curves.py", *logs],
        capture_output=True,
        text=True,
        check=False,
    )


def test_losses_side_by_side(root, tmp_path):
    logs = []
    for name, a, b in (("float32", "10.000", "4.0e+00"), ("bfloat16", "10.500", "3.960")):
        (tmp_path / name).mkdir()
        logs.append(tmp_path / name / "train.log")
        logs[-1].write_text(LINES.format(a=a, b=b))
    rows = run(root, *logs).stdout.splitlines()
    assert rows[2:] == [
        "| epoch 1 updates 1-50 | 10.000 | 10.500 | 5.0 |",
        "| epoch 1 validation | 4.000 | 3.960 | 1.0 |",
    ]


def test_another_file_is_refused(root, tmp_path):
    (tmp_path / "other.log").write_text("nothing\n")
    done = run(root, tmp_path / "other.log")
    assert done.returncode == 1 and "other.log: expected the train.log" in done.stderr


def test_the_comma_that_espnet_leaves_out(root, tmp_path):
    (tmp_path / "train.log").write_text(
        LINES.format(a="7.0", b="4.0").replace(", loss=7", "loss=7")
    )
    assert "| epoch 1 updates 1-50 | 7.000 |" in run(root, tmp_path / "train.log").stdout
