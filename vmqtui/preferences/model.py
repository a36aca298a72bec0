"""The tables of the configuration file; each key is described once, at its field.

Instances hold checked values. The loader and the reference page read the descriptions (``keys_of``).
"""

from collections.abc import Mapping
from typing import Annotated, Final

import msgspec

from engine.advice.thresholds import AdviceThresholds
from engine.scenario import values
from engine.scenario.keys import Choice, Key, Tables, number
from vmqtui.draw import TrendStyle

PLACES: Final[Mapping[str, str]] = {
    "overview-queues": "queues",
    "queues-table": "queues",
    "filters-table": "filters",
    "buffers-table": "buffers",
    "queue-filters": "filters",
    "queue-events": "events",
    "processors-cpus": "cpus",
    "processors-queues": "queues",
    "default-top": "top",
    "default-near": "near_misses",
    "default-ports": "ports",
    "events-table": "events",
    "advice-table": "advice",
}
"""Key in ``vmqtui.columns`` of each table on the screen, by the table's place."""


def _share(text: str) -> Key:
    return number(0, 1, text)


def _words(value: object) -> tuple[str, ...]:
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return tuple(value)
    raise ValueError(f"{values.show(value)} is not an array of columns' names")


def _text(value: object) -> str:
    if isinstance(value, str) and value.strip() and value.isprintable() and len(value) <= 4096:
        return value
    raise ValueError(f"{values.show(value)} is not a directory's path")


def _file(text: str) -> Key:
    return Key(_path, "a file", text, "none")


def _path(value: object) -> str:
    try:
        return _text(value)
    except ValueError:
        raise ValueError(f"{values.show(value)} is not a file's path") from None


def _table(value: object) -> object:
    if isinstance(value, dict):
        return value
    raise ValueError(f"{values.show(value)} is not a table")


class _Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A TOML table; an unknown key is an error."""


class Thresholds(_Table, frozen=True, kw_only=True):
    """``[thresholds]``: the values from which a number is marked as a warning (△) or bad (▲)."""

    buffers_warn: Annotated[float, _share("share of a queue's buffers in use from which it is marked △")] = (
        0.75
    )
    buffers_bad: Annotated[float, _share("and ▲")] = 0.95
    load_warn: Annotated[float, _share("share of a processor's cycles from which its load is marked △")] = 0.8
    load_bad: Annotated[float, _share("and ▲")] = 0.95
    drops_bad: Annotated[
        float,
        number(0, 1e9, "frames a second above which drops are marked ▲"),
    ] = 0.0


class TableColumns(_Table, frozen=True, kw_only=True):
    """``[columns.TABLE]``: columns to show or hide, regardless of the available width."""

    show: Annotated[
        tuple[str, ...],
        Key(_words, "array of columns", "shown before others, however little room there is", "none"),
    ] = ()
    hide: Annotated[tuple[str, ...], Key(_words, "array of columns", "never shown", "none")] = ()


class Broker(_Table, frozen=True, kw_only=True):
    """``[broker]``: password and TLS files for brokers by URL; options and the environment override them."""

    password_file: Annotated[str | None, _file("whose first line is the password, as `--password-file`")] = (
        None
    )
    tls_ca: Annotated[str | None, _file("with CA certificates to believe, for `mqtts://`, as `--tls-ca`")] = (
        None
    )
    tls_cert: Annotated[str | None, _file("with the certificate to show, as `--tls-cert`")] = None
    tls_key: Annotated[str | None, _file("with its private key, as `--tls-key`")] = None


class Preferences(_Table, frozen=True, kw_only=True):
    """The whole file. If ``theme``, ``trends`` or ``exports`` is None, the program uses its default."""

    theme: Annotated[
        str | None,
        Key(
            values.check_identifier,
            "a theme's name",
            "the theme to begin with; `--theme` comes before it",
            "`dark`; `mono` where `NO_COLOR` is set",
        ),
    ] = None
    trends: Annotated[
        TrendStyle | None,
        Choice(
            "the characters of trends, for fonts that lack braille, or block elements, too",
            "`braille`; `ascii` on a terminal without Unicode and on Linux's own console, `blocks` on the"
            " classic console of Windows",
        ),
    ] = None
    interval_s: Annotated[
        float,
        number(0.02, 60, "seconds between two readings of the engine that bare `vmqtui` starts"),
    ] = 0.25
    exports: Annotated[
        str | None,
        Key(
            _text,
            "a directory",
            "where tables and screenshots are written; `~` is your home",
            "`exports` in your data directory",
        ),
    ] = None
    keymap: Annotated[
        dict[str, tuple[str, ...]],
        Key(
            _table, "a table", "keys by action: the names are below; what is left out keeps its key", "empty"
        ),
    ] = {}
    columns: Annotated[
        dict[str, TableColumns],
        Key(_table, "a table", "columns by table of the screen: the names are below", "empty"),
    ] = {}
    thresholds: Annotated[Thresholds, Tables("from where on values are marked")] = Thresholds()
    advice: Annotated[AdviceThresholds, Tables("from where on the advisor has something to say")] = (
        AdviceThresholds()
    )
    broker: Annotated[Broker, Tables("how brokers are reached")] = Broker()
