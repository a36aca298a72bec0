"""Ctrl-C waits for what is to be whole."""

import signal

import pytest

from engine.signals import interrupts_deferred


def test_an_interrupt_takes_effect_when_the_thing_is_whole() -> None:
    done = []
    before = signal.getsignal(signal.SIGINT)

    def build() -> None:
        with interrupts_deferred():
            signal.raise_signal(signal.SIGINT)
            done.append("built")
            signal.raise_signal(signal.SIGINT)
            done.append("noted")

    with pytest.raises(KeyboardInterrupt):
        build()
    assert done == ["built", "noted"]
    assert signal.getsignal(signal.SIGINT) is before


def test_without_an_interrupt_nothing_happens() -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(ValueError, match="its own"), interrupts_deferred():
        raise ValueError("its own")
    assert signal.getsignal(signal.SIGINT) is before
