"""The engine: a NIC model sharded over processes, its control plane, its telemetry and its bus.

It does not import the screen (``vmqtui``). Every counter it reports results from frames it processed.
"""

import logging

# Without a handler Python would print warnings over the terminal UI; ``engine.logs`` sets up real logging.
logging.getLogger("engine").addHandler(logging.NullHandler())

__version__ = "0.2.0"
