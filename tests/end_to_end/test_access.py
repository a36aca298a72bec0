"""Who can reach an engine: nobody beyond this machine, unless a broker of one's own lets them."""

import pytest

from tests.end_to_end.conftest import Here


@pytest.mark.parametrize("address", ["0.0.0.0:0", "[::]:0", "192.0.2.1:1883", "host.example:1883"])
def test_an_engine_does_not_listen_beyond_loopback(here: Here, address: str) -> None:
    done = here("engine", "--listen", address)
    assert (done.status, done.out, done.err.count("\n")) == (2, "", 1)
    assert "beyond loopback" in done.err
