"""Tiny recursive reasoners trained as reinforcement-learning agents, with every network pass accounted for."""

__version__ = "0.1.0"
