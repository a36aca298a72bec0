"""The configuration file's tables, with their defaults. These types hold values that were checked."""

import msgspec

from engine.advice.thresholds import AdviceThresholds


class _Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A TOML table; an unknown key is an error."""


class Thresholds(_Table, frozen=True, kw_only=True):
    """``[thresholds]``: from where on a value is worth a look (△) or bad (▲)."""

    buffers_warn: float = 0.75
    buffers_bad: float = 0.95
    load_warn: float = 0.8
    load_bad: float = 0.95
    drops_bad: float = 0.0


class TableColumns(_Table, frozen=True, kw_only=True):
    """``[columns.TABLE]``: columns shown, or left out, whatever there is room for."""

    show: tuple[str, ...] = ()
    hide: tuple[str, ...] = ()


class Broker(_Table, frozen=True, kw_only=True):
    """``[broker]``: how brokers by URL are reached, where neither an option nor the environment says."""

    password_file: str | None = None
    tls_ca: str | None = None
    tls_cert: str | None = None
    tls_key: str | None = None


class Preferences(_Table, frozen=True, kw_only=True):
    """The whole file. ``theme`` and ``exports`` None: as the program decides."""

    theme: str | None = None
    interval_s: float = 0.25
    exports: str | None = None
    keymap: dict[str, tuple[str, ...]] = {}
    columns: dict[str, TableColumns] = {}
    thresholds: Thresholds = Thresholds()
    advice: AdviceThresholds = AdviceThresholds()
    broker: Broker = Broker()
