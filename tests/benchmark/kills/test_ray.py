"""Ray's own processes are killed, and an address that nothing answers is named."""

from __future__ import annotations

import http.server
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import ray
from commands import arguments, lines

from benchmark.console.main import main
from benchmark.run import ray_address, ray_folder
from benchmark.run.ray_folder import open_ray_folder
from benchmark.run.workers import WorkerPool
from sparse_attention.errors import UserError


def test_the_raylet_is_killed(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The run ends with one line instead of waiting, and what was answered is kept."""
    folder, killed = tmp_path / "results", []

    class KillsTheRaylet(WorkerPool):
        def run(self, take, *, poll=None):
            for answered in super().run(take, poll=poll):
                for child in psutil.Process().children(recursive=True):
                    if child.name() == "raylet":
                        child.kill()
                        killed.append(child)
                yield answered

    began = time.monotonic()
    assert main(arguments(tiny_model, folder, 300), KillsTheRaylet) == 1
    assert killed
    assert time.monotonic() - began < 100
    shown = capsys.readouterr().err
    assert "Ray's own process (raylet) has ended" in shown
    assert "Traceback" not in shown
    assert lines(folder) > 0
    assert not ray.is_initialized()


ORPHAN = """
import os, sys, time
if os.fork():
    os._exit(0)
time.sleep(0.5)
import psutil
from benchmark.run.ray_session import hold_ray, start_ray
with hold_ray():
    start_ray()
    for child in psutil.Process().children(recursive=True):
        if child.name() == "raylet":
            child.kill()
            child.wait()
open(sys.argv[1], "w").write("it goes on")
"""


def test_an_orphan_outlives_its_raylet(tmp_path: Path) -> None:
    """As a run that `nohup` leaves behind, and that has to say why it ends."""
    told = tmp_path / "told"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    environment.pop("RAY_RAYLET_PID", None)
    command = [sys.executable, "-c", ORPHAN, str(told)]
    subprocess.run(command, env=environment, stderr=subprocess.DEVNULL, check=True)
    until = time.monotonic() + 100
    while not told.exists() and time.monotonic() < until:
        time.sleep(0.2)
    assert told.exists()


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a server that is no Ray."""
    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.mark.parametrize(
    ("address", "problem"),
    [
        ("127.0.0.1:1", "cannot be reached"),
        ("auto", "finds no cluster"),
        ("xx:yy", "is no address"),
        ("no-such-host.invalid:6379", "cannot be reached"),
        ("127.0.0.1:99999", "is no address"),
        ("ray://127.0.0.1:10001", "Ray's client"),
        (None, "does not answer as a Ray cluster"),
    ],
)
def test_an_address_without_a_cluster(
    address: str | None,
    problem: str,
    silent: str,
    tiny_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(ray_address, "_SECONDS_TO_ANSWER", 3.0)
    # Other tests may have a Ray on this machine at this moment, which 'auto' would find.
    monkeypatch.setattr(ray_address, "_FIND", "raise ConnectionError")
    monkeypatch.setenv("RAY_ADDRESS", address or silent)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    words = arguments(tiny_model, tmp_path / "results")
    if address == "xx:yy":  # the option comes before the variable
        monkeypatch.setenv("RAY_ADDRESS", silent)
        words += ["--ray-address", address]
    assert main(words) == 2
    assert problem in capsys.readouterr().err
    assert not (tmp_path / "results").exists()


def test_folders_for_ray(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a killed run left is removed, what is in use stays, a long path is not taken."""
    short = tmp_path if len(str(tmp_path)) < 20 else Path("/tmp")
    long = tmp_path / ("long" * 20)
    long.mkdir()
    left = long / "sparse-bench-ray-abcd1234"
    foreign = long / "sparse-bench-ray-abcd1235"
    for folder in (left / "session", foreign):
        folder.mkdir(parents=True)
    (left / ".held-by-the-run").touch()
    monkeypatch.setenv("TMPDIR", str(long))
    folder, removal = open_ray_folder()
    assert folder.parent == short
    assert not left.exists()
    assert foreign.exists(), "without the lock it is somebody else's"
    other, its_removal = open_ray_folder()
    assert folder.exists()
    removal.close()
    its_removal.close()
    assert not folder.exists()
    assert not other.exists()


def test_no_place_for_ray(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_folder, "_places", lambda: iter([tmp_path / "absent"]))
    with pytest.raises(UserError, match="Let TMPDIR name one"):
        open_ray_folder()
