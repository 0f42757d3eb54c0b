"""The catalogue of diagnostic codes. A code never changes its meaning and is never used again.

Families: C command line and files, D document, S spec file, M model, P connection and server,
R migration runner, V verification of a live database, G generated files.
"""

from __future__ import annotations

from typing import Final

CODES: Final[dict[str, str]] = {
    # command line and files
    "C001": "bad usage of the command line",
    "C002": "a file cannot be read",
    "C003": "a file cannot be written",
    "C004": "a file is not UTF-8 text",
    "C005": "interrupted",
    "C006": "an internal error",
    "C007": "a row cannot be read",
    # document
    "D001": "a line looks like schema but does not parse",
    "D002": "a heading looks like a table but does not parse",
    "D003": "the document states no schema name",
    "D004": "a table, column or index is stated twice",
    "D005": "a note in parentheses is malformed",
    "D006": "unknown column type",
    "D007": "a list of values is malformed",
    "D008": "the columns of an index cannot be derived from its name",
    "D009": "a section is empty or missing",
    "D010": "the document states no table",
    # spec file
    "S001": "not YAML",
    "S002": "a key is written twice",
    "S003": "YAML would read this value as something else than it looks like",
    "S004": "anchors, aliases, tags and several documents are not part of the format",
    "S005": "nested too deeply",
    "S006": "unknown key",
    "S007": "wrong kind of value",
    "S008": "a required key is missing",
    "S009": "value outside of the allowed set or pattern",
    "S010": "a comment would be lost",
    "S011": "a type, default or reference does not parse",
    "S012": "a decision matches nothing",
    "S013": "a decision contradicts what the document states",
    "S014": "two decisions contradict each other",
    # model
    "M001": "unknown table or column",
    "M002": "a foreign key joins different types or numbers of columns",
    "M003": "a foreign key does not point to a primary key or unique constraint",
    "M004": "a name is used twice",
    "M005": "an identifier is empty, too long or has a forbidden character",
    "M006": "a list of values is not usable",
    "M007": "a vector index needs a vector column of a fixed dimension up to 2000",
    "M008": "required foreign keys form a cycle",
    "M009": "an index method does not fit the column type",
    "M010": "a default does not fit the column type",
    "M011": "a check does not fit the column type",
    "M012": "ON DELETE SET NULL on a required column",
    "M013": "a type parameter is out of range",
    "M014": "a table has no column or no primary key",
    "M015": "indexed text has no size bound",
    "M016": "a format pattern means different things to Postgres and to Python",
    "M017": "text that Postgres cannot store",
    "M018": "no index leads with the columns of a foreign key",
    "M019": "columns that share a value list differ",
    "M020": "a trigger and its function or column do not fit",
    "M021": "this kind of object cannot be emitted yet",
    "M022": "a primary key column is nullable",
    "M023": "an extension is missing",
    "M024": "a table has too many columns",
    # generated files
    "G001": "a generated file differs from what the spec generates",
    "G002": "the spec differs from the document",
    "G003": "the migrations are behind the spec",
    "G004": "the spec file is not in canonical format",
    # connection and server
    "P001": "the database cannot be reached",
    "P002": "the server is not a supported Postgres",
    "P003": "the database refused a statement",
    "P004": "the database is read-only",
    "P006": "the embedded server is not installed",
    "P007": "the embedded server did not start or stop",
    "P008": "the connection string is malformed",
    "P009": "the role lacks a privilege",
    # migration runner
    "R001": "a migration file has a bad name",
    "R002": "an applied migration file was edited",
    "R003": "an applied migration file is gone",
    "R004": "a pending migration is older than an applied one",
    "R005": "a statement of a migration failed",
    "R006": "unknown migration version",
    "R007": "the history table is not usable",
    "R008": "a migration file contains transaction control",
    "R009": "two migration files have the same version",
    # verification
    "V001": "the schema does not exist in the database",
    "V002": "missing in the database",
    "V003": "unexpected in the database",
    "V004": "different in the database",
    "V005": "the live object cannot be expressed in a spec",
}
"""Code to one-line title; the reference page ``docs/reference/diagnostics.md`` is made from it."""
