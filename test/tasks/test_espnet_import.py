"""What importing `speechlm.tasks` leaves in the process: ESPnet, and nobody's stand-in.

Modules are imported once in a process: one process imports `speechlm.tasks`, and each way of
importing other modules after it is tried in a copy of that process.
"""

import json
import subprocess
import sys

import pytest

SERVER = """
import json, os, sys, traceback
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # what is printed goes to the log
import speechlm.tasks
for line in sys.stdin:
    if not (child := os.fork()):
        try:
            exec(json.loads(line), {})
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)
        os._exit(0)
    print(os.waitpid(child, 0)[1], file=answers, flush=True)
"""


@pytest.fixture(scope="module")
def python(root, tmp_path_factory):
    """Function that runs code in a process of its own that has imported `speechlm.tasks`."""
    log = tmp_path_factory.mktemp("server") / "log"
    with (
        open(log, "w") as errors,
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", SERVER],
            cwd=root,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as server,
    ):

        def run(code):
            begin = log.stat().st_size
            server.stdin.write(json.dumps(code) + "\n")
            server.stdin.flush()
            assert server.stdout.readline() == "0\n", log.read_text()[begin:]

        yield run
        server.stdin.close()


ADAPTERS = {
    "imported": "import espnet2.layers.create_adapter_fn as m",
    "asked_for_by_a_training": """
import sys
assert 'transformers' not in sys.modules
assert 'espnet2.layers.create_adapter' not in sys.modules
import espnet2.tasks.abs_task as abs_task, torch
try:
    abs_task.create_adapter(torch.nn.Linear(2, 2), 'bottleneck', {})
except AssertionError as error:
    assert 'bottleneck is not supported' in str(error)
else:
    raise SystemExit('ESPnet was not asked')
assert 'transformers' in sys.modules
m = sys.modules['espnet2.layers.create_adapter_fn']
""",
}


@pytest.mark.parametrize("statement", ADAPTERS.values(), ids=ADAPTERS)
def test_adapters_are_espnets_own(python, statement):
    python(
        f"{statement}\nimport inspect\n"
        "from espnet2.layers.create_adapter import create_lora_adapter as of_espnet\n"
        "from espnet2.layers.create_adapter_fn import create_lora_adapter as named\n"
        "assert m.__spec__.name == m.__name__ == 'espnet2.layers.create_adapter_fn'\n"
        "assert hasattr(m, 'create_houlsby_adapter') and hasattr(m, 'is_lora_available')\n"
        "assert not hasattr(m, 'no_such_name')\n"
        "assert named is of_espnet is m.create_lora_adapter\n"
        "assert 'rank' in inspect.signature(named).parameters\n"
        "assert 'def create_lora_adapter' in inspect.getsource(m)\n"
    )


def test_g2p_en_and_tacotron_cleaner_run_when_they_are_used(python):
    python(
        "import sys, inspect\n"
        "inspect.getmodule(sys.modules['speechlm.tasks'].import_espnet)\n"
        "assert not {'g2p_en.g2p', 'nltk', 'tacotron_cleaner.numbers'} & sys.modules.keys()\n"
        "from tacotron_cleaner import cleaners\n"
        "assert cleaners.lowercase('A') == 'a' and 'tacotron_cleaner.numbers' in sys.modules\n"
        "import tacotron_cleaner\n"
        "assert tacotron_cleaner.cleaners is cleaners\n"
        "from g2p_en import G2p\n"
        "import g2p_en, types\n"
        "assert inspect.isclass(G2p) and G2p.__module__ == 'g2p_en.g2p'\n"
        "assert g2p_en.G2p is G2p and type(g2p_en) is types.ModuleType\n"
        "assert g2p_en.__spec__.name == 'g2p_en' and not hasattr(g2p_en, 'no_such_name')\n"
    )


LATE = {
    "module": "import late\nC = late.Class",
    "alias": "import late as m\nC = m.Class",
    "name": "from late import Class as C",
    "hasattr": "import late\nassert hasattr(late, 'Class')\nC = late.Class",
    "inspect": "import late, inspect\nC = dict(inspect.getmembers(late))['Class']",
    "star": "from late import *\nC = Class",
    "submodule": "import late.inner\nC = late.inner.Class",
    "alias_of_submodule": "import late.inner as m\nC = m.Class",
    "from_submodule": "from late.inner import Class as C",
    "from_package": "from late import inner\nC = inner.Class",
}


@pytest.mark.parametrize("statement", LATE.values(), ids=LATE)
def test_a_late_module_is_like_any_other(python, tmp_path, statement):
    """A package that takes a class from its module, as g2p_en does."""
    (tmp_path / "late").mkdir()
    (tmp_path / "late" / "__init__.py").write_text("from .inner import Class\n")
    (tmp_path / "late" / "inner.py").write_text("class Class:\n    pass\n")
    python(
        f"import sys, types\nsys.path.insert(0, {str(tmp_path)!r})\n"
        "from speechlm.tasks.espnet_import import put_off\n"
        "put_off('late')\nput_off('late.inner')\n"
        "inner = sys.modules['late.inner']\n"
        "assert 'Class' not in vars(inner) and 'Class' not in vars(sys.modules['late'])\n"
        f"{statement}\n"
        "import late\n"
        "assert C.__module__ == 'late.inner' and late.Class is C and late.inner is inner\n"
        "assert type(late) is type(inner) is types.ModuleType\n"
        "assert late.__spec__.name == 'late' and not hasattr(late, 'no_such_name')\n"
    )


def test_a_module_that_fails_says_so_at_each_use(python, tmp_path):
    (tmp_path / "broken_one.py").write_text("import no_such_package\n")
    python(
        f"import sys\nsys.path.insert(0, {str(tmp_path)!r})\n"
        "from speechlm.tasks.espnet_import import put_off\n"
        "put_off('broken_one')\nimport broken_one\n"
        "for _ in range(2):\n"
        "    try:\n"
        "        broken_one.anything\n"
        "    except ModuleNotFoundError as error:\n"
        "        assert error.name == 'no_such_package'\n"
        "    else:\n"
        "        raise SystemExit('no error')\n"
    )


def test_modules_of_a_package_that_is_not_installed_are_left_out(python):
    """As espnet_tts_frontend's, where ESPnet was installed without what it asks for."""
    python(
        "import sys\n"
        "from speechlm.tasks.espnet_import import put_off\n"
        "put_off('no_such_package')\nput_off('no_such_package.module')\n"
        "assert not [name for name in sys.modules if name.startswith('no_such_package')]\n"
    )


def test_torchaudio_is_its_own_without_the_compiled_part(python):
    """Transformers, which imports torchaudio, finds a whole one as well."""
    python(
        "import sys, torch, torchaudio, torchaudio._extension.utils as utils\n"
        "for name, module in list(sys.modules.items()):\n"
        "    if name.startswith('torchaudio') and not name.startswith('torchaudio.lib'):\n"
        "        assert module.__spec__.name == name and module.__file__, name\n"
        "assert torchaudio._extension.utils is utils and torchaudio._internal.module_utils\n"
        "if torch.version.cuda is None:\n"
        "    assert torchaudio._extension._IS_TORCHAUDIO_EXT_AVAILABLE is False\n"
        "wave = torch.randn(1, 1600)\n"
        "assert torchaudio.compliance.kaldi.fbank(wave, num_mel_bins=40).shape == (8, 40)\n"
        "from transformers import Wav2Vec2FeatureExtractor\n"
        "assert Wav2Vec2FeatureExtractor().sampling_rate == 16000\n"
    )


def test_classes_of_transformers_come_when_they_are_used(python):
    python(
        "import sys\n"
        "import speechlm.tasks.asr\n"
        "assert not [m for m in sys.modules if m.partition('.')[0] == 'transformers']\n"
        "from espnet2.text import hugging_face_tokenizer as tokenizer\n"
        "from espnet2.asr.encoder import beats_encoder as encoder\n"
        "assert tokenizer.is_transformers_available and encoder.is_transformers_available\n"
        "late = tokenizer.AutoTokenizer, encoder.Wav2Vec2ConformerConfig\n"
        "from transformers import AutoTokenizer, Wav2Vec2ConformerConfig\n"
        "assert late[0].from_pretrained == AutoTokenizer.from_pretrained\n"
        "made = late[1](hidden_size=8)\n"
        "assert type(made) is Wav2Vec2ConformerConfig and made.hidden_size == 8\n"
        "import transformers\n"
        "assert transformers.__file__ and not hasattr(transformers, 'NoSuchClass')\n"
        "import copy, pickle\n"
        "cls = late[1]\n"
        "assert isinstance(made, cls) and issubclass(Wav2Vec2ConformerConfig, cls)\n"
        "assert cls == Wav2Vec2ConformerConfig and hash(cls) == hash(Wav2Vec2ConformerConfig)\n"
        "assert pickle.loads(pickle.dumps(cls)) is copy.copy(cls) is Wav2Vec2ConformerConfig\n"
        "assert (cls | None) == (None | cls) == Wav2Vec2ConformerConfig | None\n"
        "class Mine(cls):\n"
        "    pass\n"
        "assert Mine.__mro__[1] is Wav2Vec2ConformerConfig\n"
    )


def test_types_of_all_but_espnet_are_checked(python, tmp_path):
    """ESPnet's functions are those of its files; typeguard still checks everybody else's."""
    (tmp_path / "mine.py").write_text(
        "from typeguard import CollectionCheckStrategy, typechecked\n\n\n"
        "@typechecked\ndef first(n: int) -> int:\n    return n\n\n\n"
        "@typechecked(collection_check_strategy=CollectionCheckStrategy.ALL_ITEMS)\n"
        "def second(n: int) -> int:\n    return n\n"
    )
    python(
        f"import sys\nsys.path.insert(0, {str(tmp_path)!r})\n"
        "import mine, typeguard\n"
        "from espnet2.text.build_tokenizer import build_tokenizer\n"
        "assert not [n for n in build_tokenizer.__code__.co_names if 'check' in n]\n"
        "assert build_tokenizer(token_type='char')\n"
        "for function in (mine.first, mine.second):\n"
        "    assert function(3) == 3\n"
        "    try:\n"
        "        function('x')\n"
        "    except typeguard.TypeCheckError:\n"
        "        continue\n"
        "    raise SystemExit('not checked')\n"
    )
