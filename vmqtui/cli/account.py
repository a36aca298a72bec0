"""``vmqtui account``: a line of an accounts file."""

import getpass
import sys

from engine.bus.accounts import PASSWORD_LIMIT_BYTES, account_line
from vmqtui.cli.failures import DONE, sentences, unusable


def run_account(name: str, role: str) -> int:
    """Ask for a password and print the account's line; the exit status."""
    with sentences():
        account_line(name, role, "-")  # what is wrong with the rest is said before the password is asked for
        print(account_line(name, role, _password()))
    return DONE


def _password() -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline(PASSWORD_LIMIT_BYTES + 2).removesuffix("\n").removesuffix("\r")
    password = getpass.getpass("password: ")
    if getpass.getpass("again: ") != password:
        unusable("the passwords differ")
    return password
