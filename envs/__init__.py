"""Puzzles and the Markov decision process of latent recursion."""
