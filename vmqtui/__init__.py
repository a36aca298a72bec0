"""What people touch: the command line and the dashboard.

Both are ordinary clients of the engine's bus; no frame passes here.
"""

import logging

logging.getLogger("vmqtui").addHandler(logging.NullHandler())
