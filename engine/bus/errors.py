# ruff: noqa: N818 - the names state the problem
"""Errors of the bus between engines and readers; their texts are sentences for users."""


class BusError(Exception):
    """Base class of bus errors; the text is a sentence and contains no password."""


class BadUrl(BusError, ValueError):
    """Text that is not a valid broker URL."""


class BadTls(BusError, ValueError):
    """A certificate or key that can't be used."""


class BadAccounts(BusError, ValueError):
    """An accounts file that can't be used."""


class BadName(BusError, ValueError):
    """A host or client name that does not fit into a topic."""


class BadMessage(BusError, ValueError):
    """A payload that is too large or can't be decoded as the expected message."""


class BrokerFailed(BusError):
    """The embedded broker did not start."""


class HostTaken(BusError):
    """Another engine answers under the same host name."""


class NotConnected(BusError):
    """There is no connection to the broker."""


class RequestTimeout(BusError):
    """The engine did not answer in time; it may have carried out the request."""
