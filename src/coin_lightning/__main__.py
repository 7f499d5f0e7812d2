"""`python -m coin_lightning` is `python -m coin_lightning.cli.train`."""

from coin_lightning.cli.train import main

if __name__ == "__main__":
    main()
