"""The environment that tests see: nothing of what the developer has set."""

import os
from typing import Final

import pytest

from lake.settings import Settings

RECORDINGS: Final = "MOVERS_RECORDINGS"
"""Where the recordings are: tests of them need to know."""


def forget_settings(patch: pytest.MonkeyPatch) -> None:
    """Neither the environment nor `.env` sets anything; only the place of the recordings stays."""
    names = {name.upper() for name in Settings.model_fields} - {RECORDINGS}
    for name in [name for name in os.environ if name.upper() in names]:
        patch.delenv(name)
    patch.setitem(Settings.model_config, "env_file", None)
