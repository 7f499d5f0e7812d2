"""Continual-learning methods: hooks around an otherwise ordinary fit."""
