"""The units under a real systemd, booted in a container: what is skipped, what fails loudly, what is started again.

It needs root, systemd-nspawn and a cgroup tree that a container may use; nothing is downloaded and no network is there.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import mdslib
from mdslib.units import Deployment, render

# The environment is shown to the container as /srv/venv: where it lies here may be hidden there (PrivateTmp).
VENV = "/srv/venv" if sys.prefix != sys.base_prefix else sys.prefix
PYTHON = Path(VENV) / Path(sys.executable).absolute().relative_to(sys.prefix)
SYSTEMD = Path("/usr/lib/systemd/systemd")
pytestmark = pytest.mark.slow
UP = "from mdslib.live.service import Service\nService().ready('up')\n"
COMPILES = (
    "import numba\n@numba.njit(cache=True)\ndef f(n):\n    return n + 1\n"
    "import mdslib.live.session\nassert f(1) == 2\nprint('compiled')"
)
TOLD = """Environment='MDS_NOTIFY_COMMAND=["/bin/sh", "-c", "cat >> /srv/told"]'\n"""
UNITS = {  # name: exchange, interpreter, what stands for `runners/live.py`
    "good": ("24/7", PYTHON, UP + "print('traded')"),
    "hung": ("24/7", PYTHON, UP + "import time\ntime.sleep(600)"),
    "hardened": ("24/7", PYTHON, UP + COMPILES),
    "unknown": ("NYSEE", PYTHON, ""),
    "holiday": ("NYSE", PYTHON, ""),
    "broken": ("24/7", Path("/usr/bin/false"), ""),
    "config": ("24/7", PYTHON, UP + "raise SystemExit(2)"),
    "venue": ("24/7", PYTHON, UP + "raise SystemExit(4)"),
    "timed": ("24/7", PYTHON, UP + "print('by the timer')"),
}
PROBE = """\
for unit in {units}; do systemctl start $unit.service; done
systemctl start timed.timer
for turn in $(seq 60); do
  sleep 1
  started=$(systemctl show -p ExecMainStartTimestamp --value timed.service)
  [ "$started" ] && [ "$(systemctl show -p NRestarts --value venue.service)" = 2 ] \\
    && grep -q hung /srv/told && grep -q venue /srv/told && break
done
systemctl stop timed.timer
for unit in {units} timed; do
  echo PROBE $unit $(systemctl show -p Result,NRestarts,ExecMainStatus $unit.service)
done
sed 's/^/TOLD /' /srv/told
systemctl poweroff
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """Properties of each unit after it was started, by its name."""
    if os.geteuid() or not shutil.which("systemd-nspawn") or not SYSTEMD.exists():
        pytest.skip("needs root, systemd-nspawn and systemd")
    tree = tmp_path_factory.mktemp("tree")
    plant(tree)
    bound = {str(Path(sys.base_prefix).resolve())} - {"/usr"}
    for folder in (*bound, VENV):
        (tree / folder.lstrip("/")).mkdir(parents=True, exist_ok=True)
    bound |= {f"{Path(mdslib.__file__).resolve().parents[1]}:/srv/project", f"{Path(sys.prefix).resolve()}:{VENV}"}
    done = subprocess.run(
        ["systemd-nspawn", "-D", str(tree), "--bind-ro=/usr", *(f"--bind-ro={folder}" for folder in sorted(bound)),
         "--private-network", "--register=no", "--keep-unit", "--boot"],
        capture_output=True, text=True, errors="replace", timeout=300, check=False,
    )  # fmt: skip
    lines = [line.partition("PROBE ")[2].split() for line in done.stdout.splitlines() if "PROBE " in line]
    if not lines:
        pytest.skip(f"systemd could not be booted in a container: {(done.stderr or done.stdout)[-200:]!r}")
    found = {unit: dict(word.split("=", 1) for word in words) for unit, *words in lines}
    found["told"] = {
        "text": "\n".join(line.partition("TOLD ")[2] for line in done.stdout.splitlines() if "TOLD " in line)
    }
    return found


def plant(tree: Path) -> None:
    """Make a root folder of links, a few files, and the units."""
    for name in ("bin", "sbin", "lib", "lib64"):
        (tree / name).symlink_to(f"usr/{name}")
    for name in (
        "usr",
        "proc",
        "sys",
        "dev",
        "run",
        "tmp",
        "var/log",
        "root",
        "srv/project",
        "etc/systemd/system-preset",
        "etc/systemd/system/multi-user.target.wants",
    ):
        (tree / name).mkdir(parents=True)
    for name in ("passwd", "group", "shadow", "nsswitch.conf", "os-release"):
        shutil.copy(f"/etc/{name}", tree / "etc")
    (tree / "etc/machine-id").write_text("0123456789abcdef0123456789abcdef\n")
    (tree / "etc/systemd/system-preset/00.preset").write_text("disable *\n")
    (tree / "srv/keys").touch(0o600)
    system = tree / "etc/systemd/system"
    for name, (exchange, python, body) in UNITS.items():
        (tree / "srv" / f"{name}.py").write_text(body)
        write_unit(system, name, exchange, python)
    write_probe(tree, system)


def write_unit(system: Path, name: str, exchange: str, python: Path) -> None:
    deployment = Deployment(
        name=name, model="m", symbols=["SPY"], arguments=[], python=python, runner=Path(f"/srv/{name}.py"),
        workdir=Path("/srv"), credentials=Path("/srv/keys"), exchange=exchange, days="",
        user="root" if name == "hardened" else None,
    )  # fmt: skip
    for file, text in render(replace(deployment, timezone="UTC")).items():
        if file.endswith(".service"):
            text = (
                text.replace("RestartSec=15", "RestartSec=100ms")
                .replace("LimitBurst=4", "LimitBurst=2")
                .replace("WatchdogSec=90", "WatchdogSec=3" if name == "hung" else "WatchdogSec=90")
                + f"Environment=PYTHONPATH=/srv/project\n{TOLD}"
            )
        (system / file).parent.mkdir(exist_ok=True)
        if name == "holiday":
            text = text.replace("is-session", "is-session --date 2024-12-25")
        text = text.replace("*-*-* 09:00:00", "*-*-* *:*:0/5")
        (system / file).write_text(text)


def write_probe(tree: Path, system: Path) -> None:
    (tree / "srv/probe.sh").write_text(PROBE.format(units=" ".join(name for name in UNITS if name != "timed")))
    (system / "probe.service").write_text(
        "[Service]\nStandardOutput=journal+console\nExecStart=/bin/sh /srv/probe.sh\n"
    )
    (system / "multi-user.target.wants/probe.service").symlink_to("../probe.service")
    (system / "default.target").symlink_to("/usr/lib/systemd/system/multi-user.target")


def test_a_session_is_run_by_the_service_and_by_the_timer(told: dict[str, dict[str, str]]) -> None:
    for unit in ("good", "timed"):
        assert (told[unit]["Result"], told[unit]["ExecMainStatus"]) == ("success", "0")


def test_a_holiday_is_skipped_without_a_failure(told: dict[str, dict[str, str]]) -> None:
    assert told["holiday"]["Result"] in ("exec-condition", "success")


@pytest.mark.parametrize("unit", ["unknown", "broken"])
def test_a_calendar_that_cannot_tell_and_a_package_that_does_not_run_fail_loudly(
    told: dict[str, dict[str, str]], unit: str
) -> None:
    assert told[unit]["Result"] == "exit-code"


def test_what_starting_again_can_help_is_started_again_and_no_more_than_the_limit(
    told: dict[str, dict[str, str]],
) -> None:
    assert (told["venue"]["ExecMainStatus"], told["venue"]["NRestarts"]) == ("4", "2")


def test_a_session_that_hangs_with_its_supervisor_is_ended_by_the_watchdog(told: dict[str, dict[str, str]]) -> None:
    assert told["hung"]["Result"] in ("watchdog", "core-dump", "start-limit-hit")


def test_a_person_is_told_of_each_failure_and_of_nothing_else(told: dict[str, dict[str, str]]) -> None:
    text = told["told"]["text"]
    for unit in ("hung", "unknown", "config", "venue"):  # the interpreter of "broken" can't tell anybody either
        assert f"{unit}.service on " in text
    for unit in ("good", "hardened", "holiday", "timed"):
        assert f"{unit}.service on " not in text


def test_the_hardened_unit_compiles(told: dict[str, dict[str, str]]) -> None:
    assert (told["hardened"]["Result"], told["hardened"]["ExecMainStatus"]) == ("success", "0")


def test_a_final_error_is_left_to_a_person(told: dict[str, dict[str, str]]) -> None:
    assert (told["config"]["Result"], told["config"]["ExecMainStatus"], told["config"]["NRestarts"]) == (
        "exit-code", "2", "0",
    )  # fmt: skip
