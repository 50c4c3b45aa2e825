"""The unified command line: `genpulse …` and `python manager.py …`."""


def main() -> None:
    """Run the command line."""
