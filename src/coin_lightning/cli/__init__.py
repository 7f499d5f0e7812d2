"""Commands. The only layer that knows Hydra."""
