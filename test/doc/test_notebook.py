"""doc/notebook.ipynb runs from its first cell to its last, on each kind of model that it takes."""

import json
import re

import pytest
import yaml

nbformat = pytest.importorskip("nbformat", reason="make test installs tools/requirements.docs.txt")
nbclient = pytest.importorskip("nbclient", reason="make test installs tools/requirements.docs.txt")
pytest.importorskip("ipykernel", reason="make test installs tools/requirements.docs.txt")

SHORT = {"max_epoch": 1, "num_iters_per_epoch": 2, "batch_bins": 160000, "num_workers": 0}
"""Changes of the fine-tuning's configuration: all of it, in seconds."""
WITH_LM = "no word model here"


@pytest.fixture(scope="module")
def notebook(root):
    """Path of the notebook."""
    return root / "doc" / "notebook.ipynb"


@pytest.fixture(scope="module")
def project(root, chords, tmp_path_factory):
    """Folders as in a checkout after `make mini`, with chords for speech and short trainings."""
    place = tmp_path_factory.mktemp("project")
    (place / "doc").mkdir()
    conf, dump = place / "egs" / "TEMPLATE" / "conf", place / "egs" / "mini" / "dump"
    conf.mkdir(parents=True)
    for file in (root / "egs" / "TEMPLATE" / "conf").glob("finetune_*tiny.yaml"):
        values = yaml.safe_load(file.read_text(encoding="utf-8"))
        (conf / file.name).write_text(yaml.safe_dump(values | SHORT), encoding="utf-8")
    dump.mkdir(parents=True)
    for name, source in {"paired": "train", "dev": "dev", "test": "dev"}.items():
        (dump / name).symlink_to(chords / source)
    return place


@pytest.fixture
def models(model_folder, save_fine_tuning, run_main, tmp_path):
    """Function: kind -> folder of a model."""

    def make(kind):
        if kind == "pretrained":
            return model_folder("fast_tiny", speech_layers=1, shared_layers=1)
        if kind == "fine_tuned":
            return save_fine_tuning(model_folder(), tmp_path / "asr")
        done = run_main(
            "export_checkpoint", "--input", model_folder(), "--output", tmp_path / "released.pt"
        )
        assert done.returncode == 0, done.stderr
        released = ("--input", tmp_path / "released.pt", "--output", tmp_path / "released")
        assert run_main("import_checkpoint", *released).returncode == 0
        return tmp_path / "released"

    return make


def change(source, **values):
    """The cell with other values of its variables, each of which it sets once."""
    for name, value in values.items():
        source, count = re.subn(rf"(?m)^{name} = [^#\n]+", f"{name} = {value!r}  ", source)
        assert count == 1, name
    return source


@pytest.fixture
def run(notebook, project, tmp_path, monkeypatch):
    """Function: model folder -> what each cell with code printed, and its pictures."""
    for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "jupyter"))

    def execute(model):
        cells = nbformat.read(notebook, 4)
        cells.cells[1].source = change(cells.cells[1].source, MODEL=str(model), MINUTES=0.3)
        client = nbclient.NotebookClient(
            cells, timeout=300, resources={"metadata": {"path": str(project / "doc")}}
        )
        client.execute()
        outputs = [o for cell in cells.cells if cell.cell_type == "code" for o in cell.outputs]
        shown = sum("image/png" in output.get("data", {}) for output in outputs)
        return "".join(output.get("text", "") for output in outputs), shown

    return execute


@pytest.mark.parametrize(
    ("kind", "first", "units", "tuned"),
    [
        ("pretrained", "pretrained, architecture fast, ", "\ntop ", True),
        ("released", "pretrained, architecture paper, ", "predicts no units", True),
        ("fine_tuned", "ctc, architecture paper, ", "predicts no units", False),
    ],
)
def test_it_runs_on(kind, first, units, tuned, models, run):
    printed, pictures = run(models(kind))
    assert first in printed and units in printed and pictures == 2
    assert ("cer_ctc=" in printed) == tuned
    assert printed.count("said ") == printed.count("written ") == 3
    assert WITH_LM in printed


def test_it_is_kept_without_outputs_and_names_configurations_that_there_are(root, notebook):
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert len(code) > 8
    assert not [c for c in code if c["outputs"] or c["execution_count"] is not None]
    conf = root / "egs" / "TEMPLATE" / "conf"
    for size in ("tiny", "fast_tiny", "base_100h", "fast_base_100h"):
        assert (conf / f"finetune_{size}.yaml").exists()
    assert any("finetune_{size}.yaml" in "".join(cell["source"]) for cell in code)
