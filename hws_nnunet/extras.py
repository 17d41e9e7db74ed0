"""Libraries that only parts of the package need: asked for once, when such a part is imported."""

from __future__ import annotations

from importlib.util import find_spec

COMMANDS = ("matplotlib", "nibabel", "packaging", "scipy", "tqdm", "typer")
"""Modules that all commands and trainers need; the extras nnunetv1, nnunetv2 and report bring them."""

REPORT = ("jinja2", "monai", "pandas", "plotly", "statsmodels")
"""Modules that the report needs beside these."""


def check_installed(what: str, modules: tuple[str, ...], extra: str) -> None:
    """Raise unless modules are installed.

    Args:
        what: needs them, for the message.
        modules: their names.
        extra: of this package, brings them.

    Raises:
        RuntimeError: one is not installed; the message names the command that installs it.
    """
    if missing := [name for name in modules if find_spec(name) is None]:
        raise RuntimeError(
            f"{what} needs {', '.join(missing)}, which the extra {extra} brings: pip install 'hws-nnunet[{extra}]'"
        )
