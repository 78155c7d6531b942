"""Gate step: the installed command's module answers as the README promises."""

from __future__ import annotations

import subprocess
import sys

CASES = (
    (("taking input from the command line",), "", "taking-input-from-the-command-line"),
    (("--stdin",), "from a pipe\n", "from-a-pipe"),
    (("--separator", "_", "--max-length", "7", "Ünder Score"), "", "under_s"),
    (("--replacements", "|->or", "--", "this | that"), "", "this-or-that"),
)


def main() -> int:
    """Run each case; return the number that answer otherwise."""
    wrong = 0
    for arguments, given, expected in CASES:
        argv = [sys.executable, "-m", "slugify", *arguments]
        done = subprocess.run(argv, input=given, capture_output=True, text=True, timeout=30)
        answer = done.stdout.strip()
        is_right = done.returncode == 0 and answer == expected
        print(
            f"{'ok   ' if is_right else 'WRONG'} slugify {' '.join(arguments)} -> {answer!r} {done.stderr[-300:]}"
        )
        wrong += not is_right
    return wrong


if __name__ == "__main__":
    sys.exit(main())
