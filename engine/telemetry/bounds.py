"""Bounds of telemetry messages: rows, columns, characters and numbers.

Readers check them while they decode a message.
"""

from typing import Annotated, Final

from msgspec import Meta

from engine.scenario.keys import MAX_ADAPTERS, MAX_CPUS, MAX_FILTERS, MAX_HOST_QUEUES, MAX_QUEUES

NAME_CHARACTERS: Final = 1024
WORDS_CHARACTERS: Final = 16_384
MAX_COLUMNS: Final = 256
MAX_KEYS: Final = 256
"""Limit of keys in a map of a stats or config message, including fields unknown to this version."""
MAX_PORTS: Final = 1 << 17
MAX_TOP_PAIRS: Final = 1024
MAX_CELLS: Final = 1 << 20
"""Limit of cells in all columns of a stats message; a decoded cell takes 40 bytes."""
MAX_QUEUE_ROWS: Final = MAX_HOST_QUEUES
"""Limit of queues on all adapters; a dashboard builds 40,000 rows a second."""
MAX_FILTER_ROWS: Final = 1 << 18
MAX_PORT_ROWS: Final = 1 << 18
SETTINGS_LIMIT_BYTES: Final = 1 << 16
"""Limit of each of ``cpu_model`` and ``balancer`` in a config message, because their values have any type."""
MAX_VALUES: Final = 1 << 20
"""Limit of values, keys included, in a response or advice, whose fields have any type. A decoded value takes
up to 100 bytes."""
MAX_DEPTH: Final = 32
"""Limit of nested lists and maps in a response or advice."""
MAX_NANOSECONDS: Final = (1 << 63) - 1
"""Limit of times; as Unix time, it is in the year 2262."""
MAX_NUMBER: Final = 10**12

Name = Annotated[str, Meta(max_length=NAME_CHARACTERS)]
Words = Annotated[str, Meta(max_length=WORDS_CHARACTERS)]

Count = Annotated[int, Meta(ge=0)]
Nanoseconds = Annotated[int, Meta(ge=0, le=MAX_NANOSECONDS)]
Number = Annotated[float, Meta(ge=0, le=MAX_NUMBER)]

OfCpus = Meta(max_length=MAX_CPUS)
OfAdapters = Meta(max_length=MAX_ADAPTERS)
OfQueues = Meta(max_length=MAX_QUEUES + 1)
OfFilters = Meta(max_length=MAX_FILTERS)
OfPorts = Meta(max_length=MAX_PORTS)
OfPairs = Meta(max_length=MAX_TOP_PAIRS)
OfColumns = Meta(max_length=MAX_COLUMNS)
