"""Options that travel together are one parameter of a command, and single options on the command line."""

from dataclasses import KW_ONLY, dataclass
from typing import Annotated

import pytest
import typer

from vmqtui.cli.failures import CommandError
from vmqtui.cli.options import address_of, grouped


@dataclass(frozen=True)
class Place:
    city: Annotated[str | None, typer.Option("--city")] = None
    _: KW_ONLY
    country: Annotated[str, typer.Option("--country")] = "IS"


@dataclass(frozen=True)
class Street(Place):
    street: Annotated[int, typer.Option("--street")] = 1


def test_a_group_is_read_from_its_options_and_keyword_only_fields_stand_last() -> None:
    seen: list[object] = []

    def command(name: Annotated[str, typer.Argument()], *, place: Street, loud: bool = False) -> int:
        """Do it."""
        seen.append((name, place, loud))
        return 3

    app = typer.Typer(add_completion=False)
    app.command()(grouped(command))
    assert app(["x", "--street", "7", "--city", "y", "--loud"], standalone_mode=False) == 3
    assert app(["z"], standalone_mode=False) == 3
    assert seen == [("x", Street("y", 7), True), ("z", Street(), False)]
    made = typer.main.get_command(app)
    assert [one.name for one in made.params] == ["name", "city", "street", "loud", "country"]
    assert made.help == "Do it."


@pytest.mark.parametrize("listen", ["", "host", ":1", "host:", "host:-1", "host:65536", "host:1e3", "host:٣"])
def test_what_is_no_address_is_refused_with_one_that_fits(listen: str) -> None:
    with pytest.raises(
        CommandError, match=r"--listen: .* is not HOST:PORT \(h:1, or port 0 for a free one\)"
    ):
        address_of(listen, "h:1")


def test_an_address_is_a_host_and_a_port() -> None:
    assert address_of("[::1]:0", "h:1") == ("::1", 0)
    assert address_of("localhost:65535", "h:1") == ("localhost", 65_535)
