"""The command ``hws-nnunet``: its subcommands, each a function in a file of its name, and its exit codes.

A command imports the libraries that it needs itself, so that help and the other commands need not wait for them.
"""

from __future__ import annotations

import inspect
import signal
import sys
from typing import Annotated

import typer

from hws_nnunet import __version__
from hws_nnunet.commands.config import config
from hws_nnunet.commands.cost import cost
from hws_nnunet.commands.demo import demo
from hws_nnunet.commands.doctor import doctor
from hws_nnunet.commands.export import export
from hws_nnunet.commands.gallery import gallery
from hws_nnunet.commands.hardness import hardness
from hws_nnunet.commands.prepare.brats import brats
from hws_nnunet.commands.prepare.fetal import fetal
from hws_nnunet.commands.prepare.phantom import phantom
from hws_nnunet.commands.register import register
from hws_nnunet.commands.report import report
from hws_nnunet.commands.small_configuration import small_configuration
from hws_nnunet.commands.small_plans import small_plans
from hws_nnunet.commands.trainers_path import trainers_path
from hws_nnunet.commands.unregister import unregister
from hws_nnunet.commands.watch import watch
from hws_nnunet.commands.weights import weights

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help=f"Hardness weighted sampling for nnU-Net, version {__version__}.\n\n"
    "First 'hws-nnunet register', then train with nnU-Net's own command:\n\n"
    "\b\n  nnUNetv2_train 501 3d_fullres 0 -tr HardnessWeightedTrainer\n\n"
    "Exit codes of all commands: 0, it is done; 1, it is not, and the message tells why; 2, an option cannot be read; "
    "130, it was interrupted.",
)
prepare_app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Turn a downloaded data set into an nnU-Net raw data set.\n\n"
    "\b\nExample:\n  hws-nnunet prepare fetal ~/feta_2.2 --dataset-id 501 --dry-run",
)

COMMANDS = (
    *(register, unregister, trainers_path, doctor, demo, config, small_configuration, small_plans, hardness, watch),
    *(gallery, report, weights, cost, export),
)
"""In the order of the help."""
for _app, _commands in ((app, COMMANDS), (prepare_app, (fetal, brats, phantom))):
    for _command in _commands:
        _summary = (inspect.getdoc(_command) or "").partition("\n")[0]  # whole: it would be cut after 45 characters
        _app.command(_command.__name__.replace("_", "-"), short_help=_summary)(_command)
app.add_typer(prepare_app, name="prepare", short_help="Turn a downloaded data set into an nnU-Net raw data set.")


@app.callback(invoke_without_command=True)
def _main(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        print(__version__)
        raise typer.Exit


def main() -> None:
    """Run the command; known errors end in one message and exit code 1, an interrupt or a termination in 130."""
    for name in ("SIGTERM", "SIGHUP"):  # so that commands under way are ended, too
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) != signal.SIG_IGN:  # nohup
            signal.signal(number, signal.default_int_handler)
    try:
        app()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    except (OSError, RuntimeError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
