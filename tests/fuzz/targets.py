"""Every decoder of bytes from outside, as a function that takes any bytes and raises only what it found.

A refusal that the decoder's docstring names is no finding; neither is a sentence that can be shown. Anything
else that comes out of ``Target.run`` is.
"""

from collections.abc import Mapping
from typing import Final

from tests.fuzz import advising, doors, files, messages, people, plans
from tests.fuzz.target import Target

TARGETS: Final[Mapping[str, Target]] = {
    **files.TARGETS,
    **messages.TARGETS,
    **advising.TARGETS,
    **doors.TARGETS,
    **people.TARGETS,
    **plans.TARGETS,
}
"""By the name that the programs of this folder take."""


def check_seeds(name: str) -> None:
    """Run a target over its own seeds."""
    for seed in TARGETS[name].seeds():
        TARGETS[name].run(seed)
