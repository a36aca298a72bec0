"""The user interface: the command line and the dashboard.

Both are ordinary clients of the engine's bus; no frames pass through this package.
"""

import logging

logging.getLogger("vmqtui").addHandler(logging.NullHandler())
