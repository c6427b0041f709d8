"""Every setting: its name, meaning, unit and default.

Read once, by a composition root, from the environment and `.env`, and passed down from there.
Secrets are `SecretStr`: masked in every repr and log.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from lake.errors import SettingError
from lake.place import Place, place
from lake.vocab import Mode


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the venues are, as the settings of the same names."""

    polymarket_gamma_url: str
    polymarket_clob_url: str
    polymarket_data_url: str
    polymarket_wss_url: str
    kalshi_api_url: str
    kalshi_wss_url: str


class Settings(BaseSettings):
    """All settings; the environment variable of a field is its name in capitals."""

    model_config = SettingsConfigDict(env_file=".env", env_file_encoding="utf-8", extra="ignore", frozen=True)

    collector_mode: Mode = Field(Mode.SIMULATED, description="simulated, replay, polymarket or live")
    lake_uri: str | None = Field(None, description="the lake: a folder, or s3://bucket/prefix; default data/<mode>")
    lake_local: Path | None = Field(
        None, description="folder for what of a lake in a bucket stays on this machine; default data/spool/<its name>"
    )
    replay_path: Path | None = Field(None, description="recording or folder of recordings for mode replay")
    movers_recordings: Path | None = Field(None, description="folder with recordings of the venues, for tests")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="least level that is logged")

    collector_interval_seconds: float = Field(30, gt=0, le=3_600, description="pause between REST polls, seconds")
    polymarket_use_wss: bool = Field(True, description="false polls Polymarket over REST only")
    wss_watchdog_timeout: float = Field(120, gt=0, description="longest silence of any connection, seconds")
    wss_reconnect_delay: float = Field(0.5, gt=0, description="first back-off step, seconds")
    wss_max_reconnect_attempts: int = Field(10, ge=1, description="failures before polling beside retries")
    wss_tokens_per_connection: int = Field(400, ge=2, le=500, description="Polymarket tokens on one connection")
    collector_universe: str = Field("", description="all or top:N a venue; default top:2000 live, all simulated")
    collector_watch: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="market ids always subscribed, comma-separated"
    )
    collector_categories: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="categories or tags that are followed, comma-separated; none = all"
    )
    collector_categories_out: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="categories or tags that are not followed, comma-separated"
    )
    raw_retention_hours: float = Field(24, gt=0, description="how long raw frames are kept, hours")
    disk_reserve_mb: float | None = Field(
        None, ge=0, description="free space at which nothing more is taken in, MiB; default 512 or 5 %, the larger"
    )
    retention_days: Annotated[dict[str, float] | None, NoDecode] = Field(
        None, description="how long tables are kept, days, as in quotes=30,bars/1m=14; 0 = for ever"
    )
    trash_retention_hours: float = Field(24, ge=24, description="how long what was removed can be brought back, hours")
    wal_dir: Path | None = Field(
        None, description="folder of the write-ahead log; default wal/ in the lake's local folder"
    )

    backfill_hours: float = Field(24, ge=0, le=336, description="history fetched at start, hours; 0 = none")
    collector_name: str = Field("main", pattern=r"^[a-z0-9]+$", description="this collector's name in file names")

    database_url: SecretStr | None = Field(None, description="state database; default SQLite beside the lake")
    polymarket_api_key: SecretStr | None = Field(None, description="not needed for market data")
    kalshi_api_key: SecretStr | None = Field(None, description="key id; without it Kalshi is polled over REST")
    kalshi_api_secret: SecretStr | None = Field(None, description="private key, PEM text or path; RSA or Ed25519")

    polymarket_gamma_url: str = Field("https://gamma-api.polymarket.com", description="catalogue")
    polymarket_clob_url: str = Field("https://clob.polymarket.com", description="books and prices")
    polymarket_data_url: str = Field("https://data-api.polymarket.com", description="trades")
    polymarket_wss_url: str = Field(
        "wss://ws-subscriptions-clob.polymarket.com/ws/market", description="market channel, whole address"
    )
    kalshi_api_url: str = Field(
        "https://external-api.kalshi.com/trade-api/v2", description="REST, ends in /trade-api/v2"
    )
    kalshi_wss_url: str = Field("wss://external-api-ws.kalshi.com/trade-api/ws/v2", description="socket, whole address")

    simulator_dir: Path = Field(Path("data/simulator"), description="folder of the simulated venues' key and labels")
    simulator_polymarket_port: int = Field(8710, ge=1, le=65_535, description="simulated Polymarket, on loopback")
    simulator_kalshi_port: int = Field(8711, ge=1, le=65_535, description="simulated Kalshi, on loopback")
    simulator_seed: int = Field(7, ge=0, description="the same seed and start give the same frames")
    simulator_markets: int = Field(3_000, ge=10, le=500_000, description="simulated markets of both venues together")
    simulator_rate: float = Field(500, gt=0, le=100_000, description="simulated messages a second, on average")
    simulator_token_ceiling: int = Field(
        500, ge=0, description="tokens of a simulated Polymarket connection above which no first books come; 0 = none"
    )

    app_port: int = Field(5006, ge=1, le=65_535, description="the pages, on loopback")
    prefect_port: int = Field(4200, ge=1, le=65_535, description="the Prefect server, on loopback")
    prefect_dir: Path = Field(Path("data/prefect"), description="folder of the Prefect server's database and password")
    prefect_retention_hours: float = Field(24, gt=0, description="how long Prefect remembers finished runs, hours")

    @field_validator("*", mode="before")
    @classmethod
    def _blank_is_unset(cls, value: Any, info: Any) -> Any:
        """An empty value in `.env` means the default."""
        return cls.model_fields[info.field_name].default if value == "" else value

    @field_validator("collector_watch", "collector_categories", "collector_categories_out", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("retention_days", mode="before")
    @classmethod
    def _days(cls, value: Any) -> Any:
        if not isinstance(value, str) or not value.strip():
            return value or None
        pairs = [part.partition("=") for part in value.split(",") if part.strip()]
        try:
            found = {name.strip(): float(days) for name, _, days in pairs}
        except ValueError:
            raise ValueError("write tables and days, as in quotes=30,bars/1m=14") from None
        if not all(0 <= days < 100_000 for days in found.values()):
            raise ValueError("days are 0 (for ever) or more")
        return found

    @field_validator("collector_universe")
    @classmethod
    def _universe(cls, value: str) -> str:
        number = value.removeprefix("top:")
        if value not in ("", "all") and not (value.startswith("top:") and number.isdigit() and int(number) > 0):
            raise ValueError("write all or top:N, as in top:2000")
        return value

    @field_validator("lake_uri")
    @classmethod
    def _place(cls, value: str | None) -> str | None:
        try:
            return value if value is None else str(place(value))
        except SettingError as exc:
            raise ValueError(str(exc).partition(": ")[2]) from exc

    @model_validator(mode="after")
    def _invented_venues_are_here(self) -> Self:
        """Invented prices and real ones never meet: in mode simulated no other machine is asked."""
        if self.collector_mode is Mode.SIMULATED:
            for name in Addresses.__dataclass_fields__:
                address = getattr(self, name)
                is_given = address != type(self).model_fields[name].default
                if is_given and urlsplit(address).hostname not in ("127.0.0.1", "localhost", "::1"):
                    raise ValueError(
                        f"{name.upper()}={address}: is not on this machine, and COLLECTOR_MODE is simulated; "
                        "unset it, or set COLLECTOR_MODE=live"
                    )
        return self

    @property
    def addresses(self) -> Addresses:
        """Where the venues are: in mode simulated the simulated ones, unless another address is set."""
        names = Addresses.__dataclass_fields__
        given = {name: getattr(self, name) for name in names}
        if self.collector_mode is Mode.SIMULATED:
            polymarket = f"127.0.0.1:{self.simulator_polymarket_port}"
            kalshi = f"127.0.0.1:{self.simulator_kalshi_port}"
            here = {
                "polymarket_gamma_url": f"http://{polymarket}/gamma",
                "polymarket_clob_url": f"http://{polymarket}/clob",
                "polymarket_data_url": f"http://{polymarket}/data",
                "polymarket_wss_url": f"ws://{polymarket}/ws/market",
                "kalshi_api_url": f"http://{kalshi}/trade-api/v2",
                "kalshi_wss_url": f"ws://{kalshi}/trade-api/ws/v2",
            }
            defaults = {name: type(self).model_fields[name].default for name in names}
            given = {name: here[name] if given[name] == defaults[name] else given[name] for name in names}
        return Addresses(**given)

    @property
    def disk_reserve_bytes(self) -> int | None:
        """The reserve that is set; None = the default."""
        return None if self.disk_reserve_mb is None else round(self.disk_reserve_mb * (1 << 20))

    @property
    def lake_root(self) -> Place:
        """Where the lake is: every mode has its own folder, so invented prices never meet real ones."""
        return place(self.lake_uri, self.lake_local) if self.lake_uri else default_root(self.collector_mode)


def default_root(mode: Mode) -> Path:
    """The folder of that mode's lake, where no other place is given."""
    return Path("data") / mode.lake


def load(**given: Any) -> Settings:
    """The settings in force; `given` wins. Raises `SettingError`, naming each bad one in one line."""
    try:
        return Settings(**given)
    except ValidationError as exc:
        raise SettingError("; ".join(_plain(error) for error in exc.errors())) from None


def _plain(error: Any) -> str:
    name = "_".join(str(part) for part in error["loc"]).upper()
    message = error["msg"].removeprefix("Value error, ")
    if not name:
        return str(message)
    field = Settings.model_fields.get(name.lower())
    is_secret = field is not None and "Secret" in str(field.annotation)
    found = "" if is_secret else f"={error['input']!r}"
    return f"{name}{found}: {message}; see .env.example"
