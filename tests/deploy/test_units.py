"""The systemd units: rendered, quoted, verified by systemd itself where it is present."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mdslib.errors import ConfigError, CredentialError
from mdslib.units import Deployment, check_credentials, render, render_compactor, render_recorder


@pytest.fixture
def deployment(tmp_path: Path) -> Deployment:
    runner = tmp_path / "live.py"
    runner.touch()
    return Deployment(
        name="mdslib-live",
        model="volume_modulo",
        symbols=["SPY"],
        arguments=["volume_modulo", "--symbol", "SPY", "--set", 'note=50% of $x "now"'],
        python=Path(sys.executable),
        runner=runner,
        workdir=tmp_path,
        credentials=tmp_path / "credentials",
    )


def as_system(deployment: Deployment, **changes: str) -> Deployment:
    from dataclasses import replace

    return replace(deployment, user="root", **changes)


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not on this machine")
    environment = os.environ | {"TZ": "UTC"}
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, check=False, env=environment)


def install(files: dict[str, str], folder: Path) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_no_placeholder_is_left(deployment: Deployment) -> None:
    for text in render(as_system(deployment)).values():
        assert not re.search(r"@[A-Z]+@", text)


def test_a_users_units_have_no_hardening_and_a_systems_have_it_without_what_would_kill_the_compiler(
    deployment: Deployment,
) -> None:
    assert set(render(deployment)) == {"mdslib-live.service", "mdslib-live.timer", "mdslib-live-failed.service"}
    hardening = render(as_system(deployment))["mdslib-live.service.d/hardening.conf"]
    settings = [line for line in hardening.splitlines() if not line.startswith("#")]
    assert "User=root" in settings
    assert "ProtectSystem=strict" in settings
    assert not any(line.startswith("MemoryDenyWriteExecute") for line in settings)


def test_the_service_ends_through_its_supervisor_and_starts_again_only_where_that_helps(deployment: Deployment) -> None:
    service = render(deployment)["mdslib-live.service"].splitlines()
    for setting in ("KillMode=mixed", "TimeoutStopSec=180", "Restart=no", "StartLimitBurst=4", "RuntimeMaxSec=13h"):
        assert setting in service
    assert "RestartForceExitStatus=4 5 SIGKILL SIGSEGV SIGABRT" in service
    conditions = [line for line in service if line.startswith("ExecCondition=")]
    assert conditions == [
        f"""ExecCondition=/bin/sh -c '"$$0" -m mdslib.cli --version >/dev/null || exit 255' {sys.executable}""",
        f"ExecCondition={sys.executable} -m mdslib.cli is-session --exchange NYSE",
    ]


def test_the_watchdog_is_fed_and_somebody_is_told_of_a_failure(deployment: Deployment) -> None:
    service = render(deployment)["mdslib-live.service"].splitlines()
    for setting in ("Type=notify", "NotifyAccess=main", "WatchdogSec=90", "OnFailure=mdslib-live-failed.service"):
        assert setting in service
    assert "OOMPolicy=continue" in service
    told = render(deployment)["mdslib-live-failed.service"].splitlines()
    assert f"ExecStart={sys.executable} -m mdslib.cli notify mdslib-live.service" in told


def test_the_hardened_unit_is_exposed_less_than_three_of_ten(deployment: Deployment, tmp_path: Path) -> None:
    files = render(as_system(deployment))
    whole = tmp_path / "whole.service"
    whole.write_text(files["mdslib-live.service"] + files["mdslib-live.service.d/hardening.conf"])
    said = analyze("security", "--offline=true", "--no-pager", str(whole)).stdout
    found = re.search(r"Overall exposure level for whole.service: ([\d.]+)", said)
    assert found is not None, said
    assert float(found[1]) < 3.0


def test_the_timer_fires_in_new_york_time_without_catching_up(deployment: Deployment) -> None:
    timer = render(deployment)["mdslib-live.timer"].splitlines()
    assert "OnCalendar=Mon..Fri *-*-* 09:00:00 America/New_York" in timer
    assert "AccuracySec=1s" in timer
    assert "Persistent=no" in timer


def test_words_are_quoted_by_systemds_rules(deployment: Deployment) -> None:
    service = render(deployment)["mdslib-live.service"]
    assert r'--set "note=50%% of $$x \"now\""' in service


def test_a_line_break_cannot_smuggle_in_a_setting(deployment: Deployment) -> None:
    with pytest.raises(ConfigError, match="must be one line of text, received"):
        render(as_system(deployment, model="x\nUser=root"))


@pytest.mark.parametrize("start", ["9:00", "24:00", "09:00:00", ""])
def test_a_start_that_is_no_time_is_refused(deployment: Deployment, start: str) -> None:
    with pytest.raises(ConfigError, match=r"--start must be HH:MM in the exchange's time, received .*; like 09:00"):
        render(as_system(deployment, start=start))


@pytest.mark.parametrize("system", [False, True])
def test_systemd_finds_nothing_to_say_about_the_units(deployment: Deployment, tmp_path: Path, system: bool) -> None:
    install(render(as_system(deployment) if system else deployment), tmp_path / "units")
    (tmp_path / "credentials").touch(0o600)
    for unit in ("mdslib-live.service", "mdslib-live.timer", "mdslib-live-failed.service"):
        done = analyze("verify", "--man=no", "--recursive-errors=yes", str(tmp_path / "units" / unit))
        assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_systemd_finds_nothing_to_say_about_the_recorders_units(tmp_path: Path) -> None:
    python, keys = Path(sys.executable), tmp_path / "credentials"
    feeds = ["kraken:XBT/USD", "bitfinex:tTESTBTC:TESTUSD"]
    units = {
        "mdslib-record.service": render_recorder(feeds, [*feeds, "--raw", "--out", "50% $x"], python, tmp_path, keys),
        "mdslib-compact.service": render_compactor(
            tmp_path / "my record", "15m", [str(tmp_path / "my record"), "--every", "15m"], python, tmp_path, keys
        ),
    }
    install(units, tmp_path / "units")
    for unit, text in units.items():
        assert not re.search(r"@[A-Z]+@", text)
        done = analyze("verify", "--man=no", "--recursive-errors=yes", str(tmp_path / "units" / unit))
        assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_systemd_would_complain_about_an_unknown_setting(deployment: Deployment, tmp_path: Path) -> None:
    files = render(deployment)
    files["mdslib-live.service"] += "RestartSometimes=yes\n"
    install(files, tmp_path)
    assert "RestartSometimes" in analyze("verify", "--man=no", str(tmp_path / "mdslib-live.service")).stderr


def test_the_schedule_falls_at_nine_in_new_york_in_winter_and_summer_and_skips_weekends(deployment: Deployment) -> None:
    done = analyze("calendar", "--base-time=2026-03-05 00:00:00 UTC", "--iterations=4", deployment.calendar)
    assert done.returncode == 0
    assert re.findall(r"(?:elapse|Iter\. #\d+): (.*)", done.stdout) == [
        "Thu 2026-03-05 14:00:00 UTC",
        "Fri 2026-03-06 14:00:00 UTC",
        "Mon 2026-03-09 13:00:00 UTC",  # daylight saving began on the Sunday between
        "Tue 2026-03-10 13:00:00 UTC",
    ]


def test_keys_that_others_can_read_are_an_error(tmp_path: Path) -> None:
    path = tmp_path / "credentials"
    path.write_text("ALPACA_DATA_PUBLIC_KEY=secret")
    path.chmod(0o640)
    with pytest.raises(CredentialError, match=r"alone \(mode 0600\), received mode 0640; run: chmod 600") as error:
        check_credentials(path)
    assert "secret" not in str(error.value)


def test_missing_keys_are_named_and_present_ones_never_shown(tmp_path: Path) -> None:
    path = tmp_path / "credentials"
    assert check_credentials(path)[1].endswith(
        "one NAME=value a line for ALPACA_DATA_PUBLIC_KEY ALPACA_DATA_SECRET_KEY "
        "ALPACA_TRADE_PUBLIC_KEY ALPACA_TRADE_SECRET_KEY"
    )
    path.touch(0o600)
    path.write_text("# keys\nALPACA_DATA_PUBLIC_KEY=AKdata\nALPACA_DATA_SECRET_KEY=hush\n")
    assert check_credentials(path) == [f"edit {path}: add ALPACA_TRADE_PUBLIC_KEY, ALPACA_TRADE_SECRET_KEY"]
