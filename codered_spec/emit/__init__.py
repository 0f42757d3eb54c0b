"""Emitters: pure functions from a model to files. Only the caller writes to disk."""
