"""Users of the embedded broker, the accounts file, and the settings passed to the broker's process.

Each account is a line ``NAME ROLE HASH`` of the accounts file, separated by blanks; lines that begin with
``#`` are comments.
"""

import base64
import binascii
import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from engine.bus.access_rules import ROLES, Role
from engine.bus.errors import BadAccounts
from engine.bus.tls import TlsFiles
from engine.bus.urls import is_loopback
from engine.trusted import check_private, open_trusted

USERS: Final[dict[str, Role]] = {"viewer": "viewer", "operator": "operator", "owner": "engine"}
"""Users whose passwords are generated at each start, and their roles."""

ENGINE: Final = "engine"
"""The user name of the engine that owns the broker; no account may use it."""


class Account(msgspec.Struct, frozen=True):
    """An account of the accounts file: user name, role and password hash (see ``hashed``)."""

    name: str
    role: Role
    hash: str


@dataclass(frozen=True)
class Listen:
    """Where an engine's own broker listens (port 0: any free port). Options as for ``EmbeddedBroker``."""

    host: str = "127.0.0.1"
    port: int = 0
    insecure: bool = False
    tls: TlsFiles | None = None
    accounts: tuple[Account, ...] = ()

    @property
    def public(self) -> bool:
        """Whether it uses TLS or is not loopback; commands on this machine then use a separate port."""
        return self.tls is not None or not is_loopback(self.host)


class AccessSettings(msgspec.Struct, frozen=True):
    """Clients that may connect: the engine of ``host``, ``USERS`` and ``ENGINE`` with ``passwords``,
    ``accounts``, and clients without a user name, with the role ``anonymous``, if that is set.
    """

    host: str
    engine_client: str
    passwords: dict[str, str]
    accounts: list[Account] = []
    anonymous: Role | None = None


class ListenAddress(msgspec.Struct, frozen=True):
    """A listening address; port 0 means any free port. With ``tls``, only TLS is accepted."""

    host: str
    port: int
    tls: TlsFiles | None = None


class BrokerSettings(msgspec.Struct, frozen=True):
    """The settings that the broker's process reads at its start."""

    addresses: list[ListenAddress]
    access: AccessSettings


ACCOUNT_LIMIT: Final = 1024
PASSWORD_LIMIT_BYTES: Final = 1024

_FILE_BYTES: Final = 256 << 10
_KIND: Final = "scrypt"
_COST: Final[dict[str, Any]] = {"n": 1 << 14, "r": 8, "p": 1, "maxmem": 64 << 20}
_NAME: Final = re.compile(r"[A-Za-z0-9_.@-]{1,64}")
_HASH: Final = re.compile(_KIND + r"\$[A-Za-z0-9+/]{22}==\$[A-Za-z0-9+/]{86}==")


def account_line(name: str, role: str, password: str) -> str:
    """Return the line of an account, with the password hashed. Raises ``BadAccounts``."""
    _check(name, role)
    if not 1 <= len(password.encode()) <= PASSWORD_LIMIT_BYTES:
        raise BadAccounts(f"a password has 1 to {PASSWORD_LIMIT_BYTES} bytes")
    return f"{name} {role} {hashed(password)}"


def read_accounts(path: Path) -> list[Account]:
    """Read an accounts file, which must be private to its user. Raises ``BadAccounts``."""
    try:
        with open_trusted(path) as file:
            check_private(path, file)
            content = file.read(_FILE_BYTES + 1)
        text = content.decode()
    except OSError as error:
        raise BadAccounts(f"{path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise BadAccounts(f"{path}: is not UTF-8 text") from None
    accounts: dict[str, Account] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        try:
            account = _account(line.split())
            if account.name in accounts:
                raise BadAccounts(f"{account.name} has an account already")
        except BadAccounts as error:
            raise BadAccounts(f"{path}: line {number}: {error}") from None
        accounts[account.name] = account
    if not 1 <= len(accounts) <= ACCOUNT_LIMIT or len(content) > _FILE_BYTES:
        raise BadAccounts(f"{path}: {len(accounts)} in it (1 to {ACCOUNT_LIMIT} accounts, a line each, fit)")
    return list(accounts.values())


def _account(fields: list[str]) -> Account:
    if len(fields) != 3:
        raise BadAccounts("is not NAME ROLE HASH (vmqtui account NAME ROLE prints such a line)")
    name, role, stored = fields
    _check(name, role)
    if not _HASH.fullmatch(stored):
        raise BadAccounts("its hash is none that vmqtui account prints")
    return Account(name, next(each for each in ROLES if each == role), stored)


def _check(name: str, role: str) -> None:
    if not _NAME.fullmatch(name):
        raise BadAccounts(f"{name[:64]!r} is not a user's name (1 to 64 of A-Z a-z 0-9 _ . @ -)")
    if name in USERS or name == ENGINE:
        raise BadAccounts(f"{name!r} is a user that every broker of an engine has (another name fits)")
    if role not in ROLES:
        raise BadAccounts(f"{role[:64]!r} is not a role ({', '.join(ROLES)} fit)")


def hashed(password: str) -> str:
    """Return ``scrypt$SALT$HASH`` of a password, with a random salt."""
    salt = secrets.token_bytes(16)
    key = hashlib.scrypt(password.encode(), salt=salt, **_COST)
    return "$".join((_KIND, base64.b64encode(salt).decode(), base64.b64encode(key).decode()))


def fits(password: bytes, stored: str) -> bool:
    """Return whether a password matches the hash ``stored``; takes about 50 ms."""
    try:
        kind, salt, key = stored.split("$")
        raw_salt, raw_key = base64.b64decode(salt, validate=True), base64.b64decode(key, validate=True)
    except (ValueError, binascii.Error):
        return False
    if kind != _KIND or len(password) > PASSWORD_LIMIT_BYTES:
        return False
    return hmac.compare_digest(hashlib.scrypt(password, salt=raw_salt, **_COST), raw_key)
