"""The rooms of `speechlm`: imports run down, in no circle, and only `tasks` imports ESPnet."""

import importlib.util
from pathlib import Path

import pytest

SPEC = importlib.util.spec_from_file_location("layout", Path(__file__).with_name("layout.py"))
layout = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(layout)

FILES = {
    "speechlm/__init__.py": "__version__ = '1'\n",
    "speechlm/conventions.py": "RATE = 16000\n",
    "speechlm/data/audio.py": "import soundfile\nfrom speechlm.conventions import RATE\n",
    "speechlm/kernels/products.py": "import torch\n",
    "speechlm/models/__init__.py": "from speechlm.models.speechlm import SpeechLM\n",
    "speechlm/models/speechlm.py": "import math\nfrom speechlm.kernels import products\n",
    "speechlm/checkpoints/pretrained.py": "from speechlm import models\n",
    "speechlm/score/report.py": "from speechlm import __version__\nNAMES = ('espnet', 'torch')\n",
    "speechlm/tokenizers/g2p.py": "import importlib.util\n"
    "spec = importlib.util.find_spec('g2p_en')\nhint = 'pip install espnet-g2p-en'\n",
    "speechlm/tasks/asr.py": "import espnet2.tasks.asr\nfrom speechlm.score import report\n",
    "speechlm/bin/espnet.py": "import importlib, sys\nimportlib.import_module(sys.argv[0])\n",
}
"""A small tree that keeps all rules."""
LAZY = "def __getattr__(name):\n    from speechlm.checkpoints.pretrained import SpeechLM\n"
IN_TRITON = "import speechlm.kernels.triton_attention\n"
TYPES = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    "


def test_the_package_keeps_the_rules(root):
    tree = layout.read_tree(root)
    assert len(tree) > 150
    assert layout.complaints(tree) == []


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"speechlm/__init__.py": LAZY},
        {"speechlm/__init__.py": TYPES + "from speechlm.checkpoints.pretrained import SpeechLM\n"},
        {"speechlm/kernels/plain.py": "from . import products\nfrom .products import product\n"},
        {"speechlm/kernels/triton_attention.py": "import triton\nimport triton.language as tl\n"},
        {
            "speechlm/kernels/triton_attention.py": "import triton\n",
            "speechlm/kernels/gpu.py": f"def f():\n    {IN_TRITON}",
        },
        {"speechlm/tasks/late.py": "import importlib\nimportlib.import_module('espnet2.x')\n"},
    ],
)
def test_what_is_allowed(more):
    assert layout.complaints(FILES | more) == []


UP = "from speechlm.tasks.asr import Task\n"
WRONG = {
    "up": ("data/a.py", UP, "imports up: speechlm.tasks.asr (floor 7) from floor 1"),
    "up_in_function": ("data/a.py", f"def f():\n    {UP}", "imports up: speechlm.tasks.asr"),
    "up_for_types": ("lm/a.py", TYPES + UP, "imports up: speechlm.tasks.asr"),
    "up_import": ("decode/a.py", "import speechlm.score.report\n", "imports up: speechlm.score"),
    "up_by_name": ("decode/a.py", "from speechlm import score\n", "only speechlm.__version__"),
    "up_to_module": ("data/a.py", "from speechlm.models import speechlm\n", "models.speechlm"),
    "up_relative": ("data/a.py", "from ..tasks import asr\n", "imports up: speechlm.tasks.asr"),
    "up_by_string": (
        "data/a.py",
        "import importlib\nimportlib.import_module('speechlm.tasks.asr')\n",
        "imports up: speechlm.tasks.asr",
    ),
    "up_from_the_ground": ("conventions.py", "import speechlm.lm.a\n", "imports up"),
    "same_floor": ("lm/a.py", "import speechlm.models\n", "on the same floor"),
    "public_class": ("bin/a.py", "import speechlm\n", "only speechlm.__version__ is for everybody"),
    "public_name": ("bin/a.py", "from speechlm import SpeechLM\n", "only speechlm.__version__"),
    "new_room": ("attic/a.py", "", "is in no known room"),
    "into_new_room": ("bin/a.py", "import speechlm.attic.a\n", "which is in no known room"),
    "init_at_once": ("__init__.py", "import speechlm.checkpoints.pretrained\n", "in functions"),
    "init_elsewhere": ("__init__.py", "def f():\n    import speechlm.tasks\n", "may import only"),
    "espnet": ("score/a.py", "import espnet2.bin\n", "imports espnet2.bin; only tasks"),
    "espnet_from": ("score/a.py", "from espnet.nets import x\n", "imports espnet.nets; only"),
    "espnet_in_function": ("bin/a.py", "def f():\n    import espnetez\n", "imports espnetez; only"),
    "espnet_for_types": ("data/a.py", TYPES + "import espnet2\n", "imports espnet2; only tasks"),
    "espnet_by_string": (
        "decode/a.py",
        "from importlib import import_module\nimport_module('espnet2.tasks.asr')\n",
        "imports espnet2.tasks.asr; only tasks",
    ),
    "espnet_by_dunder": ("lm/a.py", "__import__('espnet2')\n", "imports espnet2; only tasks"),
    "unknown_name": (
        "decode/a.py",
        "import importlib\nimportlib.import_module('espnet' + str(2))\n",
        "imports a module whose name is not written there",
    ),
    "models_read_files": ("models/a.py", "import speechlm.data.audio\n", "models may import"),
    "models_need_scipy": ("models/a.py", "import scipy.signal\n", "needs only torch and numpy"),
    "kernels_need_triton": ("kernels/a.py", "def f():\n    import triton\n", "needs only torch"),
    "kernels_in_triton": ("kernels/triton_attention.py", "import yaml\n", "needs only torch"),
    "kernels_open_triton": ("kernels/a.py", IN_TRITON, "needs triton, at once"),
    "kernels_need_yaml": ("kernels/a.py", "def f():\n    import yaml\n", "needs only torch"),
}


@pytest.mark.parametrize(("path", "text", "expected"), WRONG.values(), ids=WRONG)
def test_each_rule_can_be_broken(path, text, expected):
    found = layout.complaints(FILES | {f"speechlm/{path}": text})
    assert found and all(line.startswith(f"speechlm/{path}: ") for line in found)
    assert expected in " ".join(found)


@pytest.mark.parametrize(
    ("files", "circle"),
    [
        (
            {"lm/a.py": "import speechlm.lm.b\n", "lm/b.py": "import speechlm.lm.a\n"},
            "speechlm.lm.a -> speechlm.lm.b -> speechlm.lm.a",
        ),
        (
            {"lm/a.py": "def f():\n    from . import b\n", "lm/b.py": "from .a import f\n"},
            "speechlm.lm.a -> speechlm.lm.b -> speechlm.lm.a",
        ),
        ({"lm/a.py": "import speechlm.lm.a\n"}, "speechlm.lm.a -> speechlm.lm.a"),
        ({"models/speechlm.py": "import speechlm.models\n"}, "models.speechlm -> speechlm.models"),
    ],
)
def test_a_circle_is_found(files, circle):
    found = layout.complaints(FILES | {f"speechlm/{path}": text for path, text in files.items()})
    assert len(found) == 1 and found[0].startswith("circle: ") and circle in found[0]


def test_audio_of_data_directories_is_read_by_ranges(root):
    """Above `data`, `DataDir.audio` alone says where samples are: whole files miss `segments`."""
    tree = layout.read_tree(root)
    for path, text in tree.items():
        if layout.room_of(layout.module_of(path)) not in ("", "conventions", "data"):
            names = {item.name for item in layout.imports_of(path, text)}
            assert "read_audio" not in names, path
            assert "soundfile" not in {item.module for item in layout.imports_of(path, text)}, path
