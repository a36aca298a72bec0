# ruff: noqa: N818 - their names say what happened
"""Errors between an engine and its readers; their texts are sentences for users."""


class BusError(Exception):
    """Anything that went wrong on the bus; its text is a sentence and holds no password."""


class BadUrl(BusError, ValueError):
    """A broker URL that is none."""


class BadTls(BusError, ValueError):
    """A certificate or key that can't be used."""


class BadAccounts(BusError, ValueError):
    """An accounts file that can't be used."""


class BadName(BusError, ValueError):
    """A host or client name that does not fit into a topic."""


class BadMessage(BusError, ValueError):
    """A payload that is not the message it should be."""


class BrokerFailed(BusError):
    """The embedded broker did not start."""


class HostTaken(BusError):
    """Another engine answers under the same host name."""


class NotConnected(BusError):
    """There is no connection to the broker."""


class RequestTimeout(BusError):
    """The engine did not answer in time; whether it did the work is unknown."""
