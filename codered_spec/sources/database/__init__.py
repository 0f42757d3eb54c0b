"""The source that reads a live database: catalog facts to the model, in one snapshot."""

from codered_spec.sources.database.reader import read_catalog, read_database

__all__ = ["read_catalog", "read_database"]
