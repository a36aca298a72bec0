"""``vmqtui``: the one program. Workers re-import this module, so it imports nothing heavy."""

import sys


def main() -> None:
    """Run the command line of this process and end with its status."""
    from vmqtui.cli.program import run

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
