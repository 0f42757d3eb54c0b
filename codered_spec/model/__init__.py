"""The typed model of a Postgres schema."""
