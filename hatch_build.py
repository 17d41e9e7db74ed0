"""Build hook: ``configs`` and ``trainers`` travel in the wheel below the package, where no generic name is taken.

An editable install reads them from the checkout, so that nothing of them is copied there.
"""

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class PackFolders(BuildHookInterface):
    """Adds the folders to a wheel that is not an editable one."""

    def initialize(self, version: str, build_data: dict) -> None:
        """Called by hatchling before it builds; ``version`` is ``editable`` or ``standard``."""
        if version == "standard":
            for folder in ("configs", "trainers"):
                build_data["force_include"][folder] = f"hws_nnunet/{folder}"
