"""The bound on what is held for all clients together."""

from engine.bus.held import Held, Share


class Reader:
    """A client that leaves bytes unread."""

    def __init__(self, held: Held) -> None:
        self.unread = 0
        self.let_go = False
        self.share = Share(lambda: self.unread, self._go)
        self._held = held
        held.add(self.share)

    def _go(self) -> None:
        self.let_go = True

    def has(self, unread: int, coming: int = 0) -> None:
        self.unread, self.share.coming_bytes = unread, coming
        self._held.grew(self.share)


def test_who_has_most_goes_and_the_others_stay() -> None:
    held = Held(100)
    one, two, three = Reader(held), Reader(held), Reader(held)
    one.has(60)
    two.has(30, 10)
    assert not one.let_go
    three.has(1)
    assert (one.let_go, two.let_go, three.let_go) == (True, False, False)
    three.has(60)
    assert not two.let_go


def test_what_was_read_meanwhile_does_not_count() -> None:
    held = Held(100)
    one, two = Reader(held), Reader(held)
    one.has(90)
    one.unread = 0  # it has read, and nobody was told
    two.has(90)
    assert not one.let_go
    assert not two.let_go


def test_what_is_held_for_a_client_goes_with_it_and_not_twice() -> None:
    held = Held(100)
    one, two = Reader(held), Reader(held)
    one.has(90)
    held.remove(one.share)
    held.remove(one.share)
    one.has(90)
    two.has(100)
    assert not two.let_go
    two.has(101)
    assert two.let_go
