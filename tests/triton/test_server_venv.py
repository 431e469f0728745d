"""The server's environment has no torch: the proof that the runtime does not need it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

import runtime

FORBIDDEN = ["torch", "transformers", "optimum", "onnx", "onnxscript", "tensorflow"]

# Triton's own module exists inside of its process only: a stand-in, so that what uses it is imported too.
_PROGRAM = """
import importlib, importlib.util, pkgutil, sys, types
sys.modules["triton_python_backend_utils"] = types.ModuleType("triton_python_backend_utils")
sys.modules["triton_python_backend_utils"].TRITONSERVER_RESPONSE_COMPLETE_FINAL = 1
import runtime
names = [m.name for m in pkgutil.walk_packages(runtime.__path__, "runtime.") if not m.name.endswith("__main__")]
for name in names:
    importlib.import_module(name)
present = [name for name in FORBIDDEN if name in sys.modules or importlib.util.find_spec(name)]
print(len(names), present)
"""


@pytest.mark.triton
def test_every_module_of_the_runtime_imports_without_torch(server_python: Path) -> None:
    program = f"FORBIDDEN = {FORBIDDEN!r}\n{_PROGRAM}"
    done = subprocess.run([server_python, "-c", program], capture_output=True, text=True, cwd="/", timeout=120)
    assert done.returncode == 0, done.stderr
    count, present = done.stdout.split(maxsplit=1)
    # The same files as here: a package that was not found would make this test empty.
    assert int(count) > sum(1 for _ in Path(runtime.__file__).parent.rglob("*.py")) / 2
    assert present.strip() == "[]"


@pytest.mark.triton
def test_the_inner_modules_import_nothing_that_is_forbidden_either(server_python: Path) -> None:
    program = (
        "import sys, types\n"
        "fake = types.ModuleType('triton_python_backend_utils')\n"
        "fake.TRITONSERVER_RESPONSE_COMPLETE_FINAL = 1\n"
        "sys.modules[fake.__name__] = fake\n"
        "import runtime.triton.classification, runtime.triton.generation\n"
        f"print([name for name in {FORBIDDEN!r} if name in sys.modules])"
    )
    done = subprocess.run([server_python, "-c", program], capture_output=True, text=True, cwd="/", timeout=120)
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr
