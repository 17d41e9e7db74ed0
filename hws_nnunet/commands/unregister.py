"""The command ``hws-nnunet unregister``."""

from __future__ import annotations

from hws_nnunet import registration
from hws_nnunet.commands.options import installed_hosts


def unregister() -> None:
    """Remove the module that 'hws-nnunet register' wrote into nnU-Net's trainer folder.

    \b
    Example:
      hws-nnunet unregister
    """
    for host in installed_hosts():
        path = registration.unregister(host)
        print(f"nothing was registered with nnU-Net {host.version}" if path is None else f"removed {path}")
