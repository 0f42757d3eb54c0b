"""Gates: programs of others that must find nothing to say about what the spec generates.

Not part of the package. ``nox --list`` shows the sessions that run them.
"""
