"""The README's way from a checkpoint to an answer over HTTP, line by line as it stands there."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from runtime.triton.ports import choose_ports
from tests.triton.test_server import processes_of

pytestmark = pytest.mark.triton

CHECKOUT = Path(__file__).parents[2]


def walkthrough() -> str:
    """The commands, without the fence."""
    text = (CHECKOUT / "README.md").read_text()
    found = re.search(r"<!-- walkthrough:begin -->\s+```bash\n(.*?)```\s+<!-- walkthrough:end -->", text, re.DOTALL)
    assert found is not None
    return found[1]


def test_the_lines_of_the_readme_work(server_python: Path, tmp_path: Path) -> None:
    assert shutil.which("curl"), "the walkthrough uses curl"
    (tmp_path / "tests").symlink_to(CHECKOUT / "tests")
    ports = choose_ports("127.0.0.1", dict.fromkeys(("http", "grpc", "metrics")))
    # Other servers may have the usual ports here; and one command's output must be told from the next one's.
    script = walkthrough().replace("localhost:8000", f"localhost:{ports['http']}")
    given = " ".join(f"--{name}-port {port}" for name, port in ports.items())
    script = script.replace("onward serve model_repository", f"onward serve model_repository {given}")
    marked = re.sub(r"^(curl .*)$", r"echo '<<<'; \1; echo; echo '>>>'", script, flags=re.MULTILINE)
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    environment["ONWARD_SERVE_PYTHON"] = str(server_python)
    done = subprocess.run(
        ["bash", "-e", "-m", "-c", marked], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=560
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    answer, stream = re.findall(r"<<<\n(.*?)\n>>>", done.stdout, re.DOTALL)
    (promised,) = re.findall(r"^# (\{.*\})$", script, re.MULTILINE)
    assert json.loads(answer) == json.loads(promised)
    events = [json.loads(line[6:]) for line in stream.splitlines() if line.startswith("data: ")]
    assert "Return the" + "".join(event["text_output"] for event in events) == json.loads(answer)["text_output"]
    assert {path.name for path in (tmp_path / "model_repository" / "gpt2-docs").iterdir()} == {"config.pbtxt", "1"}
    assert processes_of(str(tmp_path)) == []
