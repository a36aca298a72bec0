"""What people touch: the command line and the dashboard.

Clients of the engine's bus like anybody's; no frame passes here.
"""

import logging

logging.getLogger("vmqtui").addHandler(logging.NullHandler())
