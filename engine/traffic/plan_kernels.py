"""The kernel of planning: how many frames of each destination would wait at once."""

from typing import Any, Final

from engine.kernels.jit import kernel

KEY, START_NS, DONE_NS, PEAK = range(4)
ROW_COLUMNS: Final = 4
_HASH: Final = -7046029254386353131  # 2^64 / golden ratio, odd, as a signed number


@kernel("int64(int64[::1], int64[::1], int64[::1], int64, int64[:,::1], float64[::1], int64, int64)")
def follow(
    keys: Any,
    arrival_ns: Any,
    service_ns: Any,
    moderation_ns: Any,
    rows: Any,
    waiting: Any,
    used: Any,
    most: Any,
) -> Any:
    """Let frames arrive, in order, each at a processor that serves its destination alone.

    ``keys`` (n,) are above 0; ``service_ns`` what each frame takes. ``rows`` (2^k, ROW_COLUMNS) is a hash
    table by key, all 0 at first, ``waiting`` (2^k,) the frames of each row that are not served yet. An idle
    processor begins ``moderation_ns`` after the first frame. What is served of those that wait is taken to be
    as long as their mean, so that no list of them is needed: exact where they all take as long. ``used`` rows
    are taken, and no more than ``most`` will be: later keys are not followed. Returns the rows taken then.
    """
    mask = rows.shape[0] - 1
    for n in range(keys.shape[0]):
        key = keys[n]
        place = ((key * _HASH) >> 20) & mask
        while rows[place, KEY] != key and rows[place, KEY] != 0:
            place = (place + 1) & mask
        if rows[place, KEY] == 0:
            if used == most:
                continue
            used += 1
            rows[place, KEY] = key
        now = arrival_ns[n]
        if now >= rows[place, DONE_NS]:
            waiting[place] = 0.0
            rows[place, START_NS] = now + moderation_ns
            rows[place, DONE_NS] = now + moderation_ns
        elif now > rows[place, START_NS]:
            left = rows[place, DONE_NS] - now
            waiting[place] *= left / (rows[place, DONE_NS] - rows[place, START_NS])
            rows[place, START_NS] = now
        waiting[place] += 1.0
        rows[place, DONE_NS] += service_ns[n]
        # The one being served holds its buffer to the end; the margin is for rounding.
        whole = int(waiting[place] + 0.999999)
        if whole > rows[place, PEAK]:
            rows[place, PEAK] = whole
    return used
