"""The command ``hws-nnunet register``."""

from __future__ import annotations

from hws_nnunet import registration
from hws_nnunet.commands.options import installed_hosts


def register() -> None:
    """Make the installed nnU-Net find the trainers, and check that it does.

    Writes one small module into nnU-Net's trainer folder; 'hws-nnunet unregister' removes it. Run it again after
    nnU-Net was installed anew.

    \b
    Example:
      hws-nnunet register
    """
    for host in installed_hosts():
        print(f"wrote {registration.register(host)}")
        print(f"nnU-Net {host.version} finds {registration.find(host)}")
        print(f"train with: {host.train}")
    print(
        "Should nnU-Net not find the trainer: compare its spelling, and run 'hws-nnunet register' again in the "
        "environment whose nnU-Net you call; 'hws-nnunet doctor' tells whether it is found there"
    )
