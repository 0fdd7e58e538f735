"""The recursive reasoner, its policy, learning rules and inference."""
