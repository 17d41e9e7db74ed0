"""The command line: one function a command, typed, which tests call in process. Its import needs an extra."""

from hws_nnunet.extras import COMMANDS, check_installed

try:
    check_installed("the command hws-nnunet", COMMANDS, "nnunetv2")
except RuntimeError as error:
    raise SystemExit(f"error: {error}") from None
