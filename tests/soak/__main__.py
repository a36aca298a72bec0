"""``python -m tests.soak [--minutes N | --hours N] [--seed N] [--broker mosquitto|embedded]``."""

import argparse
import asyncio
import sys

from tests.soak.run import soak, table


def main() -> int:
    """Soak for so long, print the table; 1 when something was wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0, help="how long; default: 5")
    parser.add_argument("--hours", type=float, default=0.0, help="how long, in hours")
    parser.add_argument("--seed", type=int, default=1, help="which faults, and when; default: 1")
    parser.add_argument("--broker", choices=["mosquitto", "embedded"], default="mosquitto")
    given = parser.parse_args()
    seconds = 3600 * given.hours or 60 * given.minutes

    def tell(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    report = asyncio.run(soak(seconds, broker=given.broker, seed=given.seed, tell=tell))
    print(f"broker: {given.broker}, seed {given.seed}\n\n{table(report)}")
    return int(bool(report.problems))


if __name__ == "__main__":
    sys.exit(main())
