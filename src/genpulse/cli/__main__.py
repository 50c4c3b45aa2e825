"""`python -m genpulse.cli`: the same program, for child processes that can't rely on a script's place."""

from genpulse.cli import main

if __name__ == "__main__":
    main()
