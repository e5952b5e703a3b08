"""Where steps run, and what their jobs take: the table of resources, --cluster, cmd.sh, GPUs."""

import os
import re
import subprocess
from pathlib import Path

import pytest

HERE = ("split_data", "merge_text", "score", "score_st", "download_librispeech", r"plot_\w+")
"""Programs that may run where ./run.sh does."""


@pytest.fixture
def recipe(copy_recipe, run_sh, tmp_path):
    """Return dry(name, *words): a dry run in a copy of a recipe; `folder` of it is that copy."""

    def run(name: str, *words: str, timeout: float = 300) -> list[str]:
        folder = tmp_path / "egs" / name
        if not folder.exists():
            copy_recipe(tmp_path, name)
        done = run_sh(folder, "--dry_run", *words, timeout=timeout)
        assert done.returncode == 0, done.stderr
        return done.stderr.splitlines()

    return run


def pairs(lines: list[str]) -> list[tuple[str, str]]:
    """(what is said of a step, its command)."""
    found = zip(lines, lines[1:], strict=False)
    return [(said, line.strip()) for said, line in found if "would run" in said]


def test_on_a_cluster_nothing_but_small_programs_runs_here(recipe):
    words = (
        "--systems",
        "hidden_text",
        "--stage",
        "2",
        "--cluster",
        "slurm",
        "--lm",
        "transformer",
    )
    shown = pairs(recipe("mini", *words))
    assert len(shown) > 30
    for said, command in shown:
        here = re.search(rf"-m speechlm\.bin\.({'|'.join(HERE)}) ", command)
        assert here or "slurm.py " in command, command
        sized = r"\d+ x \w+: \d+ cores?, \d+[GM], [\d:-]+, (no|\d+) GPUs?"
        assert here or re.search(f"would run: {sized}(;|$)", said), said
        assert "local.py" not in command


def test_on_this_machine_nothing_changes(recipe):
    lines = recipe("mini", "--stage", "2", "--stop_stage", "4")
    assert not [line for line in lines if "slurm" in line or "would run:" in line]
    shown = dict(pairs(lines))
    gmm = next(command for said, command in shown.items() if "Gaussian" in said)
    assert gmm.startswith("python -m speechlm.bin.train_gmm ")
    assert all("--cmd local.py " in line for line in lines if "parallel.sh" in line)
    assert not [line for line in lines if "--mem" in line or "--time" in line]


def test_cmd_sh_goes_before_the_table_and_the_cluster(recipe, copy_recipe, tmp_path):
    folder = copy_recipe(tmp_path, "mini")
    (folder / "cmd.sh").write_text(
        'export train_cmd="slurm.py --mem 9G --num-threads=3" decode_cmd="run.pl --x \'a b\'"\n'
    )
    lines = recipe("mini", "--stage", "4", "--lm", "ngram", "--systems", "speech")
    commands = [command for _, command in pairs(lines)]
    gmm = next(c for c in commands if "bin.train_gmm" in c)
    assert gmm.startswith(
        "slurm.py --mem 9G --num-threads=3 --time 1:00:00 exp/log/recognizer.gmm.log"
    )
    network = next(c for c in commands if "bin.train_phone_model" in c)
    assert network.startswith("local.py ")  # cuda_cmd, as --cluster has it
    decoding = [c for c in commands if re.search(r"bin\.(emissions|decode_\w+|tune_ctc) ", c)]
    decoding = [c for c in decoding if "units_phone" not in c]  # those of stage 5 are units
    assert len(decoding) > 5
    for command in decoding:
        assert command.replace("'\"'\"'", "'").find("run.pl --x 'a b' --num_threads ") >= 0, command


def test_gpus_of_jobs(recipe):
    words = ("--cluster", "slurm", "--stage", "10", "--lm", "transformer", "--rescore_lm", "a.arpa")
    lines = recipe("librispeech", *words, "--ngpu", "4")
    told = {re.sub(r".*stage \d+ \| ", "", said): said for said, _ in pairs(lines)}
    pretrain = next(said for said in told if said.startswith("pre-train speech_text"))
    assert pretrain.endswith("1 x pretrain: 32 cores, 64G, 2-0, 4 GPUs")
    for said, command in pairs(lines):
        one = re.search(r"(emissions|decode_phones|tune_phone_scores): .*?, 1 GPU(;|$)", said)
        rescoring = re.search(r"(rescore|tune_rescoring): .*, (1 GPU|no GPUs)$", said)
        if one or (rescoring and "exp/lm_transformer" in command):
            assert "--ngpu 1 " in command and "--gpu 1" in command
        elif rescoring:
            assert "--ngpu 0 " in command and "--gpu" not in command
        elif "pretrain" not in said and "Transformer" not in said and "fine-tune" not in said:
            assert "GPU" not in said.replace("no GPUs", ""), said
    words = ("--stage", "13", "--stop_stage", "13", "--cluster", "slurm", "--lm", "none")
    without = recipe("librispeech", *words, "--ngpu", "4", "--job_ngpu", "0")
    assert not [line for line in without if "--gpu" in line or "--ngpu 1" in line]


def call(root: Path, folder: Path, code: str, table: str | None = None) -> tuple[int, str]:
    """Source launchers.sh in a folder, with a table of its own, and run bash code."""
    if table is not None:
        (folder / "conf").mkdir(exist_ok=True)
        (folder / "conf" / "resources.txt").write_text(table)
    script = f". {root / 'egs' / 'TEMPLATE' / 'launchers.sh'}; {code}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env=dict(os.environ),
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.returncode, done.stdout + done.stderr


TABLE = """default 1 2G - -
a  nj  500M  0:30:00  -   # as many as jobs
b\t2\t4G\t1-0\tngpu
c  3  1000  -  1
d  here
"""


@pytest.mark.parametrize(
    ("launcher", "command", "expected"),
    [
        ("x.pl", "python -m speechlm.bin.a", "x.pl --num_threads 6 --mem 500M --time 0:30:00"),
        ("x.pl", "python local/b.py --ngpu 0", "x.pl --num_threads 5 --mem 4G --time 1-0"),
        (
            "x.pl",
            "python -m speechlm.bin.b --ngpu 1 --z",
            "x.pl --num_threads 2 --mem 4G --time 1-0 --gpu 1",
        ),
        ("x.pl", "b.py --ngpu 3", "x.pl --num_threads 6 --mem 12G --time 1-0 --gpu 3"),
        ("x.pl", "c.py --ngpu 1", "x.pl --num_threads 3 --mem 1000 --gpu 1"),
        (
            "x.pl --gpu 2 --time=3",
            "c.py --ngpu 1",
            "x.pl --gpu 2 --time=3 --num_threads 3 --mem 1000",
        ),
        ("x.pl --num-threads 9 --memory 3", "other.py", "x.pl --num-threads 9 --memory 3 --mem 2G"),
        ("/a/local.py", "python -m speechlm.bin.a --ngpu 1", "/a/local.py --num_threads 6 --gpu 1"),
        ("local.py", "other.py", "local.py"),
    ],
)
def test_launchers_get_what_the_table_says(root, tmp_path, launcher, command, expected):
    code = f'nj=6 ngpu=3 num_threads=5; launcher "{launcher}" {command}'
    assert call(root, tmp_path, code, TABLE) == (0, f"{expected}\n")


@pytest.mark.parametrize(
    ("launcher", "command", "expected"),
    [
        ("x.pl --num_nodes 4", "b.py --ngpu 8", "2 x b: 16 cores, 32G, 1-0, 8 GPUs, 4 nodes"),
        ("x.pl --mem=9G", "c.py --ngpu 1", "2 x c: 3 cores, 9G, no limit, 1 GPU"),
        ("x.pl", "python -m speechlm.bin.e", "2 x e: 1 core, 2G, no limit, no GPUs"),
        ("x.pl", "d.py", ""),  # runs here
        ("x.pl", "rm c", ""),
        ("local.py --mem 9G", "c.py", ""),
    ],
)
def test_what_a_dry_run_says_of_jobs(root, tmp_path, launcher, command, expected):
    code, said = call(root, tmp_path, f'describe 2 "{launcher}" {command}', TABLE)
    assert (code, said.strip()) == (0, expected)


def test_a_step_on_this_machine_has_the_threads_of_its_row(root, tmp_path, monkeypatch):
    """As it would have as a job: products on more threads differ in their last bits."""
    recipe, template = tmp_path / "egs" / "a corpus", root / "egs" / "TEMPLATE"
    (recipe / "conf").mkdir(parents=True)
    (recipe.parent / "TEMPLATE").symlink_to(template)
    (recipe / "conf" / "resources.txt").write_text(TABLE)
    program = "import os, sys\nnames = ('OMP', 'MKL', 'OPENBLAS')\n"
    program += "said = [os.environ.get(f'{name}_NUM_THREADS') for name in names]\n"
    program += "open(sys.argv[1], 'w').write(' '.join(map(str, said)))\n"
    for name in "abde":
        (recipe / f"{name}.py").write_text(program)
    monkeypatch.setenv("OMP_NUM_THREADS", "17")
    code = ". ../TEMPLATE/path.sh; current=1 dry_run=false nj=3 num_threads=5; "
    code += ". ../TEMPLATE/steps.sh; "
    code += "; ".join(f"step {n} --output {n}.txt -- python {n}.py {n}.txt" for n in "abde")
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", code], cwd=recipe, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    found = {n: (recipe / f"{n}.txt").read_text().split() for n in "abde"}
    assert found == {"a": ["3"] * 3, "b": ["5"] * 3, "d": ["1"] * 3, "e": ["1"] * 3}


def test_the_gpus_that_a_program_is_told(root, tmp_path):
    code = "for name in a b c d e; do gpus_of ${name}; done"
    assert call(root, tmp_path, f"ngpu=3; {code}", TABLE)[1].split() == ["0", "3", "1", "0", "0"]
    assert call(root, tmp_path, f"ngpu=0; {code}", TABLE)[1].split() == ["0", "0", "0", "0", "0"]
    code = f"ngpu=3 job_ngpu=0; {code}"
    assert call(root, tmp_path, code, TABLE)[1].split() == ["0", "3", "0", "0", "0"]


@pytest.mark.parametrize("dry_run", ["true", "false"])
@pytest.mark.parametrize(
    ("version", "ngpu", "fits"),
    [("2.13.0+cpu", 8, False), ("2.13.0+cpu", 0, True), ("2.13.0", 8, True)],
)
def test_gpus_want_a_build_of_torch_for_them(root, tmp_path, version, ngpu, fits, dry_run):
    """Said before the first stage: the first training comes hours later."""
    own = f'die() {{ echo "error: $*"; exit 1; }}; python() {{ echo {version}; }}'
    code, said = call(root, tmp_path, f"{own}; ngpu={ngpu} dry_run={dry_run}; check_torch")
    assert code == (0 if fits or dry_run == "true" else 1)
    assert bool(said) != fits
    if not fits:
        kind = "warning" if dry_run == "true" else "error"
        assert said.startswith(
            f"{kind}: --ngpu 8: torch 2.13.0+cpu is a build for CPUs; TORCH=cuda"
        )


@pytest.mark.parametrize(
    "row",
    [
        "a 1 4G 1:00:00",
        "a 1 1.5G - -",
        "a 0 4G - -",
        "a 1 4 GB - -",
        "a 1 4G 1h -",
        "a 1 4G - 2",
        "a here 1",
        "a",
    ],
)
def test_a_row_that_cannot_be_read(root, tmp_path, row):
    code, said = call(root, tmp_path, "echo not yet", f"default 1 2G - -\n{row}\n")
    assert code == 1 and said.startswith("error: conf/resources.txt: ") and "not yet" not in said
    assert "the row of a is" in said


@pytest.mark.parametrize("table", ["default here\n", "a 1 2G - -\n", ""])
def test_a_table_without_a_row_for_the_rest(root, tmp_path, table):
    code, said = call(root, tmp_path, "echo not yet", table)
    assert code == 1 and "there is no row of cores, memory, time and GPU for default" in said


def test_a_table_of_another_editor(root, tmp_path):
    """Ends of lines as Windows has them, none behind the last line, small units."""
    table = "default 1 2G - -\r\nb 2 4g 1-0 ngpu\r\nc 3 1000 - 1"
    code = "nj=6 ngpu=2 num_threads=5; launcher x.pl c.py --ngpu 1; launcher x.pl b.py --ngpu 2"
    wanted = "x.pl --num_threads 3 --mem 1000 --gpu 1\n"
    wanted += "x.pl --num_threads 4 --mem 8g --time 1-0 --gpu 2\n"
    assert call(root, tmp_path, code + "; gpus_of c", table) == (0, wanted + "1\n")


def test_two_rows_of_a_program(root, tmp_path):
    code, said = call(root, tmp_path, "true", "default 1 2G - -\na 1 2G - -\na 1 4G - -\n")
    assert code == 1 and "there are two rows of a; keep one" in said


def test_a_row_that_no_program_takes_is_named(root, tmp_path):
    table = "default 1 2G - -\npretrian 1 2G - -\npretrain 1 2G - -\nformat_data_ends 1 2G - -\n"
    code, said = call(root, tmp_path, "warn_of_unknown_programs", table)
    assert code == 0 and said.count("warning: conf/resources.txt: the row of") == 1
    assert "'pretrian' is not used" in said


def test_every_row_is_a_program(root):
    """Else a program that was renamed would silently take what others do."""
    mains = {path.stem for path in (root / "speechlm" / "bin").glob("[!_]*.py")}
    known = {"default", "make_corpus", "make_superb", "format_data_ends"} | mains
    for path in (root / "egs").glob("*/conf/resources.txt"):
        lines = path.read_text().splitlines()
        names = [line.split()[0] for line in lines if line.strip() and line[0] != "#"]
        assert set(names) <= known and len(names) == len(set(names)), path


@pytest.mark.parametrize("words", [("--cluster", "sge"), ("--job_ngpu", "2")])
def test_clusters_that_are_not_known(copy_recipe, run_sh, tmp_path, words):
    done = run_sh(copy_recipe(tmp_path, "mini"), "--dry_run", *words)
    assert done.returncode == 1 and f"error: {words[0]} is '{words[1]}'; it can be" in done.stderr


def test_a_recipe_runs_in_its_own_folder(copy_recipe, tmp_path):
    """Also where CDPATH has another folder with the same names."""
    copy_recipe(tmp_path / "a", "mini")
    (tmp_path / "b" / "egs" / "mini").mkdir(parents=True)
    done = subprocess.run(
        ["egs/mini/run.sh", "--help"],
        cwd=tmp_path / "a",
        env={**os.environ, "CDPATH": str(tmp_path / "b")},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0 and "--cluster" in done.stdout + done.stderr, done.stderr
