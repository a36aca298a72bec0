"""The engine: a NIC model sharded over processes, its control plane, its telemetry and its bus.

Nothing here imports the screen. Nothing here draws a number that a frame did not make.
"""

import logging

# Without this, Python writes warnings to a screen that may be in use; who wants logs sets up ``engine.logs``.
logging.getLogger("engine").addHandler(logging.NullHandler())

__version__ = "0.1.0"
