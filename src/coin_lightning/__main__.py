"""`python -m coin_lightning`."""

from coin_lightning.cli.commands import main

if __name__ == "__main__":
    main()
