"""Frozen multimodal LLMs with their tokenizer, image preprocessing and prompt format."""
