"""Pin all dependencies with hashes: requirements.txt (to run) and requirements-dev.txt (to work on GenPulse).

No index address is written: whoever installs uses the index of their own configuration.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
FILES = {"requirements.txt": ["local"], "requirements-dev.txt": ["local", "dev"]}


def main() -> None:
    """Rewrite both files; arguments are passed on to pip-compile (`--upgrade`)."""
    for name, extras in FILES.items():
        command = [
            *(sys.executable, "-m", "piptools", "compile", "--quiet", "--generate-hashes", "--strip-extras"),
            *("--no-emit-index-url", "--no-emit-trusted-host", "--no-emit-find-links", "--no-emit-options"),
            *("--allow-unsafe", "--no-header", "--no-annotate"),
            *(f"--extra={extra}" for extra in extras),
            *("--output-file", name, "pyproject.toml", *sys.argv[1:]),
        ]
        subprocess.run(command, cwd=ROOT, check=True)  # noqa: S603 - fixed words and our own arguments
        header = "# Made by `make lock` from pyproject.toml: exact versions with hashes, no index addresses.\n"
        path = ROOT / name
        path.write_text(header + path.read_text())


if __name__ == "__main__":
    main()
