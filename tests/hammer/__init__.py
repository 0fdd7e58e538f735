"""The reliability hammer: kills, faults and a soak, against the programs as a user starts them; see `__main__.py`."""
