"""The bound on what is held for all clients together."""

from engine.mqtt.limits import ByteBudget, Share


class Reader:
    """A client that leaves bytes unread."""

    def __init__(self, budget: ByteBudget) -> None:
        self.unread = 0
        self.disconnected = False
        self.share = Share(lambda: self.unread, self._disconnect)
        self._budget = budget
        budget.add(self.share)

    def _disconnect(self) -> None:
        self.disconnected = True

    def has(self, unread: int) -> None:
        self.unread = unread
        self._budget.update(self.share)


def test_who_has_most_goes_and_the_others_stay() -> None:
    budget = ByteBudget(100)
    one, two, three = Reader(budget), Reader(budget), Reader(budget)
    one.has(60)
    two.has(40)
    assert not one.disconnected
    three.has(1)
    assert (one.disconnected, two.disconnected, three.disconnected) == (True, False, False)
    three.has(60)
    assert not two.disconnected


def test_what_was_read_meanwhile_does_not_count() -> None:
    budget = ByteBudget(100)
    one, two = Reader(budget), Reader(budget)
    one.has(90)
    one.unread = 0  # it has read, and the budget does not know yet
    two.has(90)
    assert not one.disconnected
    assert not two.disconnected


def test_what_is_held_for_a_client_goes_with_it_and_not_twice() -> None:
    budget = ByteBudget(100)
    one, two = Reader(budget), Reader(budget)
    one.has(90)
    budget.remove(one.share)
    budget.remove(one.share)
    one.has(90)
    two.has(100)
    assert not two.disconnected
    two.has(101)
    assert two.disconnected
