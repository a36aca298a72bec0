"""The kernel for plans: the maximum of frames of each destination waiting at one time."""

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
    """Simulate arrivals, in order, with one processor for each destination.

    ``keys`` (n,) are above 0; ``service_ns`` (n,) is each frame's service time. ``rows`` (2^k, ROW_COLUMNS)
    is a hash table by key, all 0 at first; ``waiting`` (2^k,) has the unserved frames of each row. An idle
    processor begins ``moderation_ns`` after the first frame. Waiting frames are treated as if all took the
    mean time, which avoids a list of them and is exact if their times are equal. ``used`` rows are in use;
    above ``most`` rows, new keys are not tracked. Returns the rows in use afterwards.
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
        # Count a partly served frame, which keeps its buffer, as whole; 0.999999 tolerates rounding errors.
        whole = int(waiting[place] + 0.999999)
        if whole > rows[place, PEAK]:
            rows[place, PEAK] = whole
    return used
