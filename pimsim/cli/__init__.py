"""The ``pimsim`` command: Typer commands that only read options, call `pimsim.api` and print.

Standard output is data, standard error is talk. Exit codes: 0 done, 2 bad input, 3 outputs differ from the
reference although the ADC is lossless, 130 interrupted.
"""

from __future__ import annotations

import sys

from pimsim.errors import PimsimError

BAD_INPUT = 2
INTERRUPTED = 130


def main() -> None:
    """Run the command line and exit; a `PimsimError` becomes one message and exit code 2, Ctrl-C exit code 130."""
    try:
        from pimsim.cli.app import build_app

        build_app()(prog_name="pimsim")
    except PimsimError as error:
        print(f"pimsim: {error}", file=sys.stderr)
        sys.exit(BAD_INPUT)
    except KeyboardInterrupt:  # where Typer does not see it: while importing, or between its own handlers
        print("pimsim: interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)
