"""Output: a bundle is there whole, or nothing is, whatever happens in between."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from exporter.output import check_space, check_target, clean_up, size, staged_output
from exporter.signals import deferred_signals
from runtime.errors import OnwardError
from tests.unit.exporter.refusal import refused


def write(staging: Path, text: str, version: int = 1) -> None:
    (staging / "config.pbtxt").write_text(text)
    (staging / str(version) / "bundle.json").write_text(text)
    (staging / str(version) / "sub").mkdir()
    (staging / str(version) / "sub" / "model.onnx").write_text(text)


def export(repository: Path, text: str, version: int = 1, force: bool = False) -> None:
    with staged_output(repository, "m", version, force) as staging:
        write(staging, text, version)


def tree(root: Path) -> dict[str, str]:
    """Every file below `root`, hidden ones too, with its contents; directories with ''."""
    return {str(p.relative_to(root)): p.read_text() if p.is_file() else "" for p in sorted(root.rglob("*"))}


def bundle(text: str, version: int = 1) -> dict[str, str]:
    v = f"repo/m/{version}"
    files = {f"{v}/bundle.json": text, f"{v}/sub": "", f"{v}/sub/model.onnx": text, v: ""}
    return {"repo": "", "repo/m": "", "repo/m/config.pbtxt": text, **files}


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return tmp_path / "repo"


def test_new_bundle(tmp_path: Path, repository: Path) -> None:
    export(repository, "a")
    assert tree(tmp_path) == bundle("a")


def test_nothing_is_in_the_repository_before_the_end(tmp_path: Path, repository: Path) -> None:
    repository.mkdir()
    with staged_output(repository, "m") as staging:
        write(staging, "a")
        # Triton takes any sub-directory for a model, so the hidden one is beside the repository.
        assert list(repository.iterdir()) == []
        assert staging.parent == tmp_path
        assert staging.name.startswith(".onward-")
    assert tree(tmp_path) == bundle("a")


def test_nested_repository_is_made(tmp_path: Path) -> None:
    export(tmp_path / "a" / "b" / "repo", "x")
    assert (tmp_path / "a" / "b" / "repo" / "m" / "1" / "bundle.json").is_file()
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_relative_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    export(Path("repo"), "a")
    assert tree(tmp_path) == bundle("a")


def test_repository_that_is_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk" / "repo").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "disk" / "repo")
    export(tmp_path / "link", "a")
    assert tree(tmp_path / "disk") == bundle("a")


def test_another_server_user_may_read_it(repository: Path) -> None:
    previous = os.umask(0o022)
    try:
        export(repository, "a")
    finally:
        os.umask(previous)
    assert (repository / "m").stat().st_mode & 0o777 == 0o755
    assert (repository / "m" / "1" / "bundle.json").stat().st_mode & 0o777 == 0o644


def test_existing_version_needs_force(tmp_path: Path, repository: Path) -> None:
    export(repository, "a")
    for attempt in (lambda: check_target(repository, "m"), lambda: export(repository, "b")):
        with refused("repo/m/1 exists", "--force", "--version 2", kind=OnwardError):
            attempt()
    assert tree(tmp_path) == bundle("a")


def test_force_replaces(tmp_path: Path, repository: Path) -> None:
    export(repository, "a")
    (repository / "m" / "1" / "left over").write_text("?")
    check_target(repository, "m", force=True)
    export(repository, "b", force=True)
    assert tree(tmp_path) == bundle("b")


def test_versions_beside_each_other(tmp_path: Path, repository: Path) -> None:
    export(repository, "a")
    export(repository, "b", version=2)
    both = {**bundle("a"), **bundle("b", 2)}
    assert tree(tmp_path) == both
    export(repository, "c", version=1, force=True)
    assert tree(tmp_path) == {**both, **bundle("c")}


def test_force_replaces_only_bundles(tmp_path: Path, repository: Path) -> None:
    (repository / "m" / "1").mkdir(parents=True)
    (repository / "m" / "1" / "thesis.txt").write_text("years of work")
    before = tree(tmp_path)
    with refused("no onward bundle", kind=OnwardError):
        export(repository, "a", force=True)
    (repository / "m" / "1").rename(repository / "m" / "notes")
    with refused("no model directory", kind=OnwardError):
        export(repository, "a", force=True)
    assert (repository / "m" / "notes" / "thesis.txt").read_text() == "years of work"
    assert len(tree(tmp_path)) == len(before)


def test_force_keeps_away_from_links(tmp_path: Path, repository: Path) -> None:
    export(tmp_path / "other", "a")
    (repository / "m").mkdir(parents=True)
    (repository / "m" / "config.pbtxt").write_text("")
    (repository / "m" / "1").symlink_to(tmp_path / "other" / "m" / "1")
    with refused("no onward bundle", kind=OnwardError):
        export(repository, "b", force=True)


@pytest.mark.parametrize("name", ["", ".", "..", "../m", "a/b", ".m", "-m", "a b", "模", "m\n"])
def test_names_that_are_no_model_names(repository: Path, name: str) -> None:
    with refused("no model name", kind=OnwardError):
        check_target(repository, name)


def test_targets_that_cannot_be(tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with refused("version 0", kind=OnwardError):
        check_target(repository, "m", 0)
    (tmp_path / "file").write_text("")
    with refused("is a file", kind=OnwardError):
        check_target(tmp_path / "file", "m")
    with refused("is a file", kind=OnwardError):
        check_target(tmp_path / "file" / "below", "m")
    with refused("file is a file", "--name", kind=OnwardError):
        check_target(tmp_path, "file")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with refused("not writable", kind=OnwardError):
        check_target(repository, "m")


class Boom(Exception):
    pass


@pytest.mark.parametrize("kind", [Boom, KeyboardInterrupt, SystemExit, OnwardError])
@pytest.mark.parametrize("existing", [False, True])
def test_nothing_is_left_after_an_exception(
    tmp_path: Path, repository: Path, kind: type[BaseException], existing: bool
) -> None:
    if existing:
        export(repository, "a")
    before = tree(tmp_path)
    with pytest.raises(kind), staged_output(repository, "m", force=True) as staging:
        write(staging, "half")
        raise kind
    assert tree(tmp_path) == before


@pytest.mark.parametrize("step", range(6))
def test_failing_swap_is_undone(tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Replacing takes four renames; whichever fails, the old bundle is whole afterwards."""
    export(repository, "a")
    rename, calls = Path.rename, []

    def failing(self: Path, target: Path) -> Path:
        if "probe" not in self.name:
            calls.append(self)
            if len(calls) == step + 1:
                raise OSError(errno.EIO, "input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    if step < 4:
        with pytest.raises(OSError, match="input/output"):
            export(repository, "b", force=True)
        assert tree(tmp_path) == bundle("a")
    else:
        export(repository, "b", force=True)
        assert len(calls) == 4
        assert tree(tmp_path) == bundle("b")


def test_target_that_appears_during_the_export(tmp_path: Path, repository: Path) -> None:
    with refused("exists", "--force", kind=OnwardError), staged_output(repository, "m") as staging:
        write(staging, "slow")
        export(repository, "fast")
    assert tree(tmp_path) == bundle("fast")


def test_where_no_rename_from_beside_works(tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a bind mount: the hidden directory is in the repository then, and nothing of the attempt is left."""
    repository.mkdir()
    rename = Path.rename

    def crossing(self: Path, target: Path) -> Path:
        if self.parent == tmp_path:
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", crossing)
    with staged_output(repository, "m") as staging:
        assert staging.parent == repository
        assert list(tmp_path.iterdir()) == [repository]
        write(staging, "a")
    assert tree(tmp_path) == bundle("a")


SCRIPT = """
import sys, time
from pathlib import Path
from exporter.output import staged_output
with staged_output(Path(sys.argv[1]), "m", force=True) as staging:
    (staging / "1" / "bundle.json").write_text("half")
    print("ready", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("existing", [False, True])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_signals(tmp_path: Path, repository: Path, number: signal.Signals, existing: bool) -> None:
    if existing:
        export(repository, "a")
    before = tree(tmp_path)
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(repository)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        assert tree(tmp_path) != before
        process.send_signal(number)
    if number == signal.SIGKILL:
        # Nothing can be done then; the next export of any model there cleans up.
        assert tree(tmp_path) != before
        clean_up(repository, "m")
    else:
        expected = {signal.SIGINT: -signal.SIGINT, signal.SIGTERM: 143, signal.SIGHUP: 129}
        assert process.returncode == expected[number]
    assert tree(tmp_path) == before


def test_running_exports_are_left_alone(tmp_path: Path, repository: Path) -> None:
    export(repository, "a")
    with staged_output(repository, "n") as staging:
        clean_up(repository, "m")
        clean_up(repository, "n")
        assert staging.is_dir()
        write(staging, "b")
    assert {p.name for p in repository.iterdir()} == {"m", "n"}


def test_files_of_other_hosts_are_left_alone(tmp_path: Path, repository: Path) -> None:
    """On a shared disk a process id says nothing about another machine."""
    foreign = tmp_path / ".onward-elsewhere-1-abcd-m"
    foreign.mkdir()
    (tmp_path / ".onward-notes").mkdir()
    export(repository, "a")
    assert foreign.is_dir()
    assert (tmp_path / ".onward-notes").is_dir()


CRASH = """
import os, sys
from pathlib import Path
from exporter.output import staged_output
rename, calls = Path.rename, []
def dying(self, target):
    if "probe" not in self.name:
        calls.append(self)
        if len(calls) == int(sys.argv[2]):
            os._exit(9)
    return rename(self, target)
Path.rename = dying
with staged_output(Path(sys.argv[1]), "m", force=True) as staging:
    (staging / "config.pbtxt").write_text("b")
    (staging / "1" / "bundle.json").write_text("b")
    (staging / "1" / "sub").mkdir()
    (staging / "1" / "sub" / "model.onnx").write_text("b")
"""


@pytest.mark.parametrize("step", [1, 2, 3, 4])
def test_crash_within_the_swap_loses_nothing(tmp_path: Path, repository: Path, step: int) -> None:
    export(repository, "a")
    crashed = subprocess.run([sys.executable, "-c", CRASH, str(repository), str(step)])
    assert crashed.returncode == 9
    clean_up(repository, "m")
    found = tree(tmp_path)
    assert set(found) == set(bundle("a"))
    version = {key: text for key, text in found.items() if key.startswith("repo/m/1/")}
    assert version in ({k: v for k, v in bundle(text).items() if k in version} for text in ("a", "b"))


def test_deferred_signals() -> None:
    seen = []
    with pytest.raises(KeyboardInterrupt):
        with deferred_signals():
            signal.raise_signal(signal.SIGINT)
            seen.append("finished")
        seen.append("not reached")
    assert seen == ["finished"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_interrupt_during_the_commit_comes_after_it(
    tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = Path.replace

    def interrupted(self: Path, target: Path) -> Path:
        signal.raise_signal(signal.SIGINT)
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        export(repository, "a")
    assert tree(tmp_path) == bundle("a")


def test_outside_of_the_main_thread(tmp_path: Path, repository: Path) -> None:
    thread = threading.Thread(target=export, args=(repository, "a"))
    thread.start()
    thread.join()
    assert tree(tmp_path) == bundle("a")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
def test_full_disk(tmp_path: Path, repository: Path) -> None:
    with (
        refused("filled up", "needs about 5.0 kB", "free", kind=OnwardError),
        staged_output(repository, "m", bytes_needed=5000) as staging,
    ):
        write(staging, "half")
        with Path("/dev/full").open("w") as full:
            full.write("x")
    assert tree(tmp_path) == {}


@pytest.mark.parametrize(
    "error",
    [OSError(errno.EDQUOT, "quota"), RuntimeError("write failed: No space left on device (os error 28)")],
)
def test_full_disk_as_libraries_say_it(tmp_path: Path, repository: Path, error: Exception) -> None:
    with refused("filled up", "more than", kind=OnwardError), staged_output(repository, "m"):
        raise ValueError("wrapped") from error
    assert tree(tmp_path) == {}


def test_space_is_checked_first(tmp_path: Path, repository: Path) -> None:
    check_space(repository, 1)
    with refused("needs 1000000.0 TB", str(tmp_path), "free", kind=OnwardError):
        check_space(repository / "deep" / "down", 10**18)
    with (
        refused("another disk", kind=OnwardError),
        staged_output(repository, "m", bytes_needed=10**18),
    ):
        pytest.fail("the export began")


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 bytes"), (999, "999 bytes"), (1500, "1.5 kB"), (2_340_000_000, "2.3 GB")]
)
def test_size(count: int, text: str) -> None:
    assert size(count) == text
