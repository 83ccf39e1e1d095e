"""Settings and credentials: where data lie, which venue is spoken to, which limits hold.

A setting comes from the environment (``MDS_STORE``, ``MDS_LIMITS__MAX_POSITION``), else from ``mdslib.toml`` in the
working folder (or the file that ``$MDS_CONFIG`` names), else it has the default written here. Credentials come from the
environment only, in the variables that cpquant reads, and are never shown.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from mdslib.errors import ConfigError, CredentialError, did_you_mean

PREFIX = "MDS_"
_CONFIG_VARIABLE = "MDS_CONFIG"
_FILE = "mdslib.toml"
_PAPER_HOST = "paper-api.alpaca.markets"
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


class LimitSettings(BaseModel):
    """Limits of the desk, with the names and defaults of `mdslib.risk.Limits`; 0 turns a limit off."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    max_order_qty: float = Field(default=1_000.0, ge=0)
    max_order_notional: float = Field(default=100_000.0, ge=0)
    max_position: float = Field(default=5_000.0, ge=0)
    max_orders_per_minute: int = Field(default=150, ge=0)
    price_collar: float = Field(default=0.05, ge=0)
    leverage: float = Field(default=2.0, ge=0)
    duplicate_ns: int = Field(default=0, ge=0)
    session: int = Field(default=1, ge=0, le=1)


class Settings(BaseSettings):
    """Everything that can be set; make it with `load_settings`.

    Attributes
    ----------
    store, runs, models : Path
        Folders of recorded data, of live runs, and of the user's strategies.
    record : Path
        Folder that `mds record` writes its tapes to.
    feed : str
        Alpaca's feed: ``iex``, ``sip``, ``delayed_sip`` or ``test``.
    data_stream_url, data_url, trade_url : str
        The venue's addresses: market-data websocket, historical REST, trading REST.
    limits : LimitSettings
        Limits of the desk.
    allow_live_trading : bool
        A `trade_url` that is neither Alpaca's paper host nor on this machine is refused unless this is true.
    seal_key : Path
        Ed25519 private key that signs the record of each run; made on first use.
    metrics_port : int
        Where a live session serves its measures to Prometheus, on this machine only; 0: nowhere.
    venue_urls : dict of str to str
        Where a venue's market data come from instead of its own address: ``MDS_VENUE_URLS__KRAKEN``.
    notify_webhook, notify_command : SecretStr, tuple of str
        Who is told when a run fails: an address that takes a POST, and a program that reads its standard input.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True)

    store: Path = Path("~/.local/share/mdslib/store")
    runs: Path = Path("runs")
    models: Path = Path("models")
    record: Path = Path("~/.local/share/mdslib/record")
    feed: str = "iex"
    data_stream_url: str = "wss://stream.data.alpaca.markets"
    data_url: str = "https://data.alpaca.markets"
    trade_url: str = "https://paper-api.alpaca.markets"
    limits: LimitSettings = LimitSettings()
    allow_live_trading: bool = False
    seal_key: Path = Path("~/.local/share/mdslib/seal.key")
    venue_urls: dict[str, str] = {}
    metrics_port: int = Field(default=0, ge=0, le=65_535)
    notify_webhook: SecretStr = SecretStr("")
    notify_command: tuple[str, ...] = ()

    @field_validator("store", "runs", "models", "record", "seal_key", mode="after")
    @classmethod
    def _expand(cls, path: Path) -> Path:
        return path.expanduser()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Let the environment win over the file, whose values `load_settings` passes in."""
        return env_settings, init_settings


def load_settings() -> Settings:
    """Return the settings of this process, read from the environment and the file now.

    Raises
    ------
    ConfigError
        A key is unknown ("did you mean"), a value does not fit, the file can't be read, or the trading address is a
        live one that was not allowed.

    Examples
    --------
    >>> load_settings().feed  # doctest: +SKIP
    'iex'
    """
    _check_variables()
    path, values = _read_file()
    try:
        settings = Settings(**values)
    except ValidationError as error:
        raise ConfigError(_explained(error, path)) from None
    except SettingsError as error:
        raise ConfigError(f"{error}; write nested settings like {PREFIX}LIMITS__MAX_POSITION=100") from None
    _check_trade_url(settings)
    return settings


def _check_variables() -> None:
    """Refuse a variable that nearly names a setting: a slip of the pen would change nothing, silently."""
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields} | {_CONFIG_VARIABLE}
    known |= {f"{PREFIX}LIMITS__{name.upper()}" for name in LimitSettings.model_fields}
    for name in os.environ:
        # Other rooms have variables of their own (MDS_SIM_KEY), which are near to none of these.
        if name.startswith(PREFIX) and name not in known and difflib.get_close_matches(name, known, 1, 0.8):
            raise ConfigError(f"environment variable {name} sets nothing. {did_you_mean(name, known)}")


def _read_file() -> tuple[Path, dict[str, Any]]:
    named = os.environ.get(_CONFIG_VARIABLE)
    path = Path(named).expanduser() if named else Path(_FILE)
    if not named and not path.is_file():
        return path, {}
    try:
        values = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        remedy = f"unset {_CONFIG_VARIABLE} or name a file that exists" if named else "make it readable"
        raise ConfigError(f"settings file {path} can't be read: {error.strerror}; {remedy}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"settings file {path} must be TOML: {error}") from None
    for secret in ("key", "secret", "password", "token"):
        if any(secret in name.lower() for name in values):
            raise ConfigError(f"settings file {path} must hold no credentials; put them in the environment")
    return path, values


def _explained(error: ValidationError, path: Path) -> str:
    """Say in one line what the first finding is."""
    finding = error.errors()[0]
    where = ".".join(str(part) for part in finding["loc"])
    if finding["type"] == "extra_forbidden":
        nested = finding["loc"][0] == "limits" and len(finding["loc"]) > 1
        names = LimitSettings.model_fields if nested else Settings.model_fields
        return f"setting {where!r} in {path} is not known. {did_you_mean(str(finding['loc'][-1]), names)}"
    variable = PREFIX + where.upper().replace(".", "__")
    rule = finding["msg"][0].lower() + finding["msg"][1:]
    return f"setting {where!r}: {rule}, received {finding['input']!r}; correct {variable} or {path}"


def _check_trade_url(settings: Settings) -> None:
    try:
        host = urlsplit(settings.trade_url).hostname or ""
    except ValueError:  # brackets that hold no IPv6 address
        host = ""
    if not host:
        raise ConfigError(
            f"setting 'trade_url' must be a URL, received {settings.trade_url!r}; for example https://{_PAPER_HOST}"
        )
    if host == _PAPER_HOST or host in _LOOPBACK or settings.allow_live_trading:
        return
    raise ConfigError(
        f"setting 'trade_url' must be Alpaca's paper host or this machine, received {host!r}; "
        f"use https://{_PAPER_HOST}, or set allow_live_trading = true if you mean real money"
    )


@dataclass(frozen=True, repr=False)
class Credentials:
    """A key and its secret; showing it shows neither.

    Examples
    --------
    >>> Credentials("AKPUBLIC", "very-secret")
    Credentials(key='AK…', secret=***)
    """

    key: str
    secret: str

    def __repr__(self) -> str:
        return f"Credentials(key='{self.key[:2]}…', secret=***)"


def credentials(purpose: Literal["data", "trade"]) -> Credentials:
    """Return the key and secret for market data or for trading, from cpquant's environment variables.

    Parameters
    ----------
    purpose : {"data", "trade"}
        ``ALPACA_DATA_PUBLIC_KEY`` and ``ALPACA_DATA_SECRET_KEY``, or the same with ``TRADE``.

    Raises
    ------
    CredentialError
        A variable is missing or empty; it names which.
    """
    if purpose not in ("data", "trade"):
        raise ConfigError(f"credentials: purpose must be 'data' or 'trade', received {purpose!r}")
    names = [f"ALPACA_{purpose.upper()}_{half}_KEY" for half in ("PUBLIC", "SECRET")]
    values = [os.environ.get(name, "").strip() for name in names]
    missing = [name for name, value in zip(names, values, strict=True) if not value]
    if missing:
        word = "variable" if len(missing) == 1 else "variables"
        raise CredentialError(
            f"credentials for {purpose}: environment {word} {' and '.join(missing)} must be set, received nothing; "
            "export the key pair of your Alpaca paper account"
        )
    return Credentials(*values)
