"""Every key of the configuration file: how its value is read, what fits, and what it means.

The loader reads files by this registry and the reference page is checked against it. Defaults stand in
``model``.
"""

from collections.abc import Mapping
from functools import partial
from typing import Final

import msgspec

from engine.advice.thresholds import THRESHOLDS, AdviceThresholds, Threshold, read_threshold
from engine.scenario import values
from engine.scenario.keys import Key, Tables
from vmqtui.preferences import model

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
"""Every table of the screen, by its place: the table of ``vmqtui.columns`` that is shown there."""


def _share(text: str) -> Key:
    return Key(partial(values.check_number, low=0, high=1), "number 0..1", text)


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


def _advice(threshold: Threshold) -> Key:
    kind = "integer" if threshold.whole else "number"
    help_ = threshold.help[0].lower() + threshold.help[1:].removesuffix(".")
    return Key(
        partial(read_threshold, threshold),
        f"{kind} {threshold.low:g}..{threshold.high:g}",
        f"{help_} ({threshold.unit})",
    )


KEYS: Final[Mapping[type[msgspec.Struct], Mapping[str, Key | Tables]]] = {
    model.Preferences: {
        "theme": Key(
            values.check_identifier,
            "a theme's name",
            "the theme to begin with; `--theme` comes before it",
            "`dark`; `mono` where `NO_COLOR` is set",
        ),
        "interval_s": Key(
            partial(values.check_number, low=0.02, high=60),
            "number 0.02..60",
            "seconds between two readings of the engine that bare `vmqtui` starts",
        ),
        "exports": Key(
            _text,
            "a directory",
            "where tables and screenshots are written; `~` is your home",
            "`exports` in your data directory",
        ),
        "keymap": Key(
            _table, "a table", "keys by action: the names are below; what is left out keeps its key", "empty"
        ),
        "columns": Key(_table, "a table", "columns by table of the screen: the names are below", "empty"),
        "thresholds": Tables(model.Thresholds, "from where on values are marked"),
        "advice": Tables(AdviceThresholds, "from where on the advisor has something to say"),
        "broker": Tables(model.Broker, "how brokers are reached"),
    },
    model.TableColumns: {
        "show": Key(_words, "array of columns", "shown before others, however little room there is", "none"),
        "hide": Key(_words, "array of columns", "never shown", "none"),
    },
    model.Thresholds: {
        "buffers_warn": _share("share of a queue's buffers in use from which it is marked △"),
        "buffers_bad": _share("and ▲"),
        "load_warn": _share("share of a processor's cycles from which its load is marked △"),
        "load_bad": _share("and ▲"),
        "drops_bad": Key(
            partial(values.check_number, low=0, high=1e9),
            "number 0..1000000000",
            "frames a second above which drops are marked ▲",
        ),
    },
    model.Broker: {
        "password_file": _file("whose first line is the password, as `--password-file`"),
        "tls_ca": _file("with CA certificates to believe, for `mqtts://`, as `--tls-ca`"),
        "tls_cert": _file("with the certificate to show, as `--tls-cert`"),
        "tls_key": _file("with its private key, as `--tls-key`"),
    },
    AdviceThresholds: {one.name: _advice(one) for one in THRESHOLDS},
}
