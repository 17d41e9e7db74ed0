"""The libraries that the report alone needs: asked for once, when it is imported."""

from __future__ import annotations

from importlib.util import find_spec

LIBRARIES = ("jinja2", "monai", "pandas", "plotly", "statsmodels")


def check_installed() -> None:
    """Raise unless the libraries of the extra ``report`` are installed.

    Raises:
        RuntimeError: one is not; the message names the command that installs it.
    """
    if missing := [name for name in LIBRARIES if find_spec(name) is None]:
        raise RuntimeError(
            f"the report needs {', '.join(missing)}, which is not installed: pip install 'hws-nnunet[report]'"
        )
