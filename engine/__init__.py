"""The engine: a NIC model sharded over processes, its control plane, its telemetry and its bus.

Nothing here imports the screen. Nothing here draws a number that a frame did not make.
"""

__version__ = "0.1.0"
