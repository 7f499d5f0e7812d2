"""Frozen multimodal LLMs with their tokenizer, picture preprocessing and prompt format."""
