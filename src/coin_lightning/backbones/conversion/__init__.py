"""Published checkpoints of models that transformers has no class for, made into folders that it reads (`networks`)."""
