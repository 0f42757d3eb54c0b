"""Types of CodeRed's rows for mypy and pyright: ``TaskRow``, ``TaskInsert``, ``Zone`` and so on."""

from codered_spec.generated.rows import *  # noqa: F403
