"""Whatever bytes come from outside, each decoder takes them or refuses them in a sentence.

A short run. ``python -m tests.fuzz`` goes on for as long as it is told, guided by coverage.
"""

from random import Random

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.fuzz.mutate import Form, mutated
from tests.fuzz.targets import TARGETS, check_seeds
from tests.slow import examples

QUICK = settings(max_examples=examples(25), suppress_health_check=list(HealthCheck))


def edited(seed: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
    """A seed with pieces replaced: (place, bytes taken out, bytes put in)."""
    data = seed
    for place, taken, put in edits:
        at = place % (len(data) + 1)
        data = data[:at] + put + data[at + taken :]
    return data


EDITS = st.lists(
    st.tuples(st.integers(0, 1 << 16), st.integers(0, 8), st.binary(max_size=8)), min_size=1, max_size=6
)


@pytest.mark.parametrize("name", TARGETS)
def test_what_a_seed_holds_is_taken(name: str) -> None:
    check_seeds(name)


@pytest.mark.parametrize("name", TARGETS)
@QUICK
@given(data=st.binary(max_size=300))
@example(data=b"")
@example(data=b"\x1b[2J\x9b31m")
@example(data=b"[" * 20_000)
@example(data=b"\x91" * 20_000)
@example(data=b"1" * 20_000)
@example(data=b"\xff\xfe\x00")
def test_any_bytes_are_taken_or_refused(name: str, data: bytes) -> None:
    TARGETS[name].run(data)


@pytest.mark.parametrize("name", TARGETS)
@QUICK
@given(which=st.integers(0, 100), edits=EDITS)
def test_what_nearly_fits_is_taken_or_refused(
    name: str, which: int, edits: list[tuple[int, int, bytes]]
) -> None:
    seeds = TARGETS[name].seeds()
    TARGETS[name].run(edited(seeds[which % len(seeds)], edits))


FORMS = {name: target.form for name, target in TARGETS.items() if target.form is not None}


@pytest.mark.parametrize("name", FORMS)
@settings(max_examples=examples(60), suppress_health_check=list(HealthCheck))
@given(which=st.integers(0, 100), chance=st.integers(0, 1 << 32), rounds=st.integers(1, 3))
def test_what_is_well_formed_and_says_nonsense_is_taken_or_refused(
    name: str, which: int, chance: int, rounds: int
) -> None:
    form, seeds = FORMS[name], TARGETS[name].seeds()
    tree = form.read(seeds[which % len(seeds)])
    for number in range(rounds):
        tree = mutated(tree, Random(chance + number), lambda inner: inner[::-1])
    try:
        data = form.write(tree)
    except Exception:  # nonsense that this form can't say
        return
    TARGETS[name].run(data)


@pytest.mark.parametrize("name", FORMS)
def test_what_is_taken_apart_is_put_together_again(name: str) -> None:
    form: Form = FORMS[name]
    for seed in TARGETS[name].seeds():
        tree = form.read(seed)
        again = form.write(tree)
        assert repr(form.read(again)) == repr(tree)
        TARGETS[name].run(again)
