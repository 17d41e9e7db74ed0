"""Every mode of nnU-Net's, through its own commands; ``noxfile.py`` runs them with several versions."""

PYTHONS = ("3.10", "3.12", "3.13")  # the other sessions have 3.11
NNUNETV2 = ("2.6.0", "2.6.4", "2.7.0", "2.8.1")
CHECKOUT = "nnunetv2-main-"
"""Beginning of the name of a checkout's results; the commit follows."""
SESSIONS = (
    "modes-v2",
    "modes-v1",
    *(f"python-{version}" for version in PYTHONS),
    *(f"nnunetv2-{version}" for version in NNUNETV2),
    "lowest",
)
"""Names of results in docs/compatibility, in the order of docs/compatibility.md."""
