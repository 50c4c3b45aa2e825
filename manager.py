"""The specification's entry: `python manager.py start-all`, the same program as `genpulse`."""

from genpulse.cli import main

if __name__ == "__main__":
    main()
