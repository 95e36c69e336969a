"""Stacks to be judged: bad ones, from each of which one rule fires, and good ones, from which none does."""
