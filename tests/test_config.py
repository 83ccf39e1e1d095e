"""Settings come from the environment, then the file, then the defaults; slips are named; keys are never shown."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mdslib.config import Credentials, LimitSettings, credentials, load_settings
from mdslib.errors import ConfigError, CredentialError
from mdslib.risk import Limits


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No variable of ours, no file."""
    for name in list(os.environ):
        if name.startswith(("MDS_", "ALPACA_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def test_defaults() -> None:
    settings = load_settings()
    assert settings.store == Path("~/.local/share/mdslib/store").expanduser()
    assert (settings.runs, settings.models, settings.feed) == (Path("runs"), Path("models"), "iex")
    assert settings.trade_url == "https://paper-api.alpaca.markets"
    assert settings.allow_live_trading is False


def test_limits_have_the_names_and_defaults_of_the_kernel() -> None:
    assert LimitSettings().model_dump() == Limits()._asdict()


def test_the_file_beats_the_defaults_and_the_environment_beats_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("mdslib.toml").write_text('feed = "sip"\nstore = "~/ticks"\n[limits]\nmax_position = 7\nleverage = 1\n')
    assert load_settings().feed == "sip"
    assert load_settings().store == Path("~/ticks").expanduser()
    monkeypatch.setenv("MDS_FEED", "test")
    monkeypatch.setenv("MDS_LIMITS__MAX_POSITION", "9")
    settings = load_settings()
    assert settings.feed == "test"
    assert (settings.limits.max_position, settings.limits.leverage) == (9.0, 1.0)


def test_another_file_can_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "other.toml"
    other.write_text('runs = "elsewhere"\n')
    monkeypatch.setenv("MDS_CONFIG", str(other))
    assert load_settings().runs == Path("elsewhere")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('fed = "sip"', r"setting 'fed' in mdslib.toml is not known. Did you mean 'feed'"),
        ("[limits]\nmax_positon = 1", r"setting 'limits.max_positon' in mdslib.toml .* Did you mean 'max_position'"),
        ("[limits]\nmax_position = -1", r"setting 'limits.max_position': .* greater than or equal to 0, received -1; "),
        ("feed = 3", "setting 'feed': input should be a valid string, received 3; correct MDS_FEED or mdslib.toml"),
        ("feed = ", "settings file mdslib.toml must be TOML"),
        ('secret_key = "x"', "must hold no credentials; put them in the environment"),
        ('trade_url = "https://api.alpaca.markets"', "must be Alpaca's paper host or this machine"),
        ('trade_url = "https://paper-api.alpaca.markets.evil.example"', "must be Alpaca's paper host or this machine"),
        ('trade_url = "nonsense"', "must be a URL, received 'nonsense'"),
        ('trade_url = "https://host[]"', r"must be a URL, received 'https://host\[\]'"),
    ],
)
def test_bad_files_are_named(text: str, message: str) -> None:
    Path("mdslib.toml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_settings()


def test_a_slip_in_a_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MDS_STOER", "x")
    with pytest.raises(ConfigError, match=r"variable MDS_STOER sets nothing. Did you mean 'MDS_STORE'"):
        load_settings()


def test_a_group_of_settings_in_one_variable_must_be_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MDS_LIMITS", "max_position=1")
    with pytest.raises(ConfigError, match="write nested settings like MDS_LIMITS__MAX_POSITION=100"):
        load_settings()


def test_variables_of_other_rooms_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MDS_SIM_KEY", "x")
    monkeypatch.setenv("MDS_DEBUG", "1")
    assert load_settings().feed == "iex"


def test_a_named_file_must_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MDS_CONFIG", "absent.toml")
    with pytest.raises(ConfigError, match=r"settings file absent.toml can't be read: .*; unset MDS_CONFIG"):
        load_settings()


@pytest.mark.parametrize("url", ["http://127.0.0.1:8080", "http://localhost:1", "http://[::1]:1"])
def test_this_machine_may_always_be_traded_on(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MDS_TRADE_URL", url)
    assert load_settings().trade_url == url


def test_real_money_must_be_allowed_expressly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MDS_TRADE_URL", "https://api.alpaca.markets")
    monkeypatch.setenv("MDS_ALLOW_LIVE_TRADING", "true")
    assert load_settings().allow_live_trading is True


def test_credentials_name_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    both = "variables ALPACA_DATA_PUBLIC_KEY and ALPACA_DATA_SECRET_KEY must be set"
    with pytest.raises(CredentialError, match=both):
        credentials("data")
    monkeypatch.setenv("ALPACA_TRADE_PUBLIC_KEY", "PKABCDEF")
    with pytest.raises(CredentialError, match="variable ALPACA_TRADE_SECRET_KEY must be set"):
        credentials("trade")
    with pytest.raises(ConfigError, match="must be 'data' or 'trade', received 'order'"):
        credentials("order")


def test_credentials_are_read_and_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALPACA_DATA_PUBLIC_KEY", "PKABCDEF")
    monkeypatch.setenv("ALPACA_DATA_SECRET_KEY", "s3cret-value")
    found = credentials("data")
    assert found == Credentials("PKABCDEF", "s3cret-value")
    assert repr(found) == str(found) == "Credentials(key='PK…', secret=***)"
