"""Small disks that fill up, or become read-only."""

import os
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disk(kilobytes):
    """Yield the folder of a disk of this size in memory."""
    if os.geteuid():
        pytest.skip("mounts a small disk, which needs root")
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", folder], check=True)
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", "--lazy", folder], check=True)


def remount(folder, how):
    """Make a small disk read-only (``ro``) or not (``rw``)."""
    subprocess.run(["mount", "-o", f"remount,{how}", str(folder)], check=True)


def fill(folder, left):
    """Fill the disk of a folder but for so many bytes."""
    there = os.statvfs(folder)
    with open(folder / "ballast", "wb") as file:
        file.write(bytes(max(0, there.f_bavail * there.f_frsize - left)))
