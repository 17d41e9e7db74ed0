"""The libraries that only the report needs: imported when they are used, missed with the command that mends it."""

from __future__ import annotations

import importlib
from types import ModuleType

INSTALL = "pip install 'hws-nnunet[report]'"


def needed(name: str) -> ModuleType:
    """Import and return a module of the extra ``report``.

    Raises:
        RuntimeError: it is not installed; the message names the command that installs it.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != name.split(".")[0]:
            raise
        raise RuntimeError(f"the report needs {name.split('.')[0]}, which is not installed: {INSTALL}") from None
