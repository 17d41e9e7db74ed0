"""The command ``hws-nnunet``. Each subcommand is a function that can be called in process."""

from __future__ import annotations

import csv
import json
import signal
import sys
from dataclasses import asdict
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hws_nnunet import __version__
from hws_nnunet.commands.prepare import NnUNet, Raw, prepare_app, raw_folder
from hws_nnunet.commands.small import small_configuration, small_plans
from hws_nnunet.commands.weights import weights

if TYPE_CHECKING:
    from hws_nnunet.facts import versions

# What a command alone needs it imports itself, so that the others, and all help, need not wait for it.

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help=f"Hardness weighted sampling for nnU-Net, version {__version__}.\n\n"
    "First 'hws-nnunet register', then train with nnU-Net's own command:\n\n"
    "\b\n  nnUNetv2_train 501 3d_fullres 0 -tr HardnessWeightedTrainer",
)
app.add_typer(prepare_app, name="prepare")


class Device(str, Enum):
    """Where nnU-Net trains."""

    cpu = "cpu"
    cuda = "cuda"
    mps = "mps"


@app.callback(invoke_without_command=True)
def _main(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        print(__version__)
        raise typer.Exit


@app.command()
def register() -> None:
    """Make the installed nnU-Net find the trainers, and check that it does.

    Writes one small module into nnU-Net's trainer folder; 'hws-nnunet unregister' removes it. Run it again after
    nnU-Net was installed anew.

    \b
    Example:
      hws-nnunet register
    """
    from hws_nnunet import registration

    for host in _installed():
        print(f"wrote {registration.register(host)}")
        print(f"nnU-Net {host.version} finds {registration.find(host)}")
        print(f"train with: {host.train}")


@app.command()
def unregister() -> None:
    """Remove the module that 'hws-nnunet register' wrote into nnU-Net's trainer folder.

    \b
    Example:
      hws-nnunet unregister
    """
    from hws_nnunet import registration

    for host in _installed():
        path = registration.unregister(host)
        print(f"nothing was registered with nnU-Net {host.version}" if path is None else f"removed {path}")


def _installed() -> list[versions.Host]:
    from hws_nnunet.facts import versions

    if not (found := versions.installed()):
        raise RuntimeError("no nnU-Net is installed: pip install 'hws-nnunet[v2]' (or [v1])")
    return found


@app.command("trainers-path")
def trainers_path(version: Annotated[NnUNet, typer.Argument(help="nnU-Net's version.")] = NnUNet.v2) -> None:
    """Print the folder of trainers for nnU-Net 2.8 and later, where nnU-Net's own folder cannot be written.

    \b
    Example:
      export nnUNet_extTrainer=$(hws-nnunet trainers-path v2)
    """
    from hws_nnunet.facts import versions

    print(versions.HOSTS[version.value].trainers_path())


app.command("small-configuration")(small_configuration)
app.command("small-plans")(small_plans)


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", help="Folder for all that it makes.")] = Path("hws-nnunet-demo"),
    device: Annotated[Device, typer.Option("--device", help="Where to train.")] = Device.cpu,
    seed: Annotated[int, typer.Option("--seed", help="Of the made-up data.")] = 0,
    nnunet: Annotated[NnUNet, typer.Option("--nnunet", help="Which nnU-Net.")] = NnUNet.v2,
    compare: Annotated[bool, typer.Option("--compare", help="Also train with uniform sampling.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Do away with an earlier demonstration.")] = False,
) -> None:
    """See it work in minutes: made-up brains, nnU-Net's own commands, a table of Dice and figures.

    Every command is printed, so that you can repeat it.

    \b
    Example:
      hws-nnunet demo --out ~/hws-demo --compare
    """
    from hws_nnunet.demo import run_demo

    run_demo(out, version=nnunet.value, device=device.value, seed=seed, compare=compare, overwrite=overwrite)


@app.command()
def hardness(
    fold: Annotated[Path, typer.Argument(help="A fold's folder: .../HardnessWeightedTrainer__.../fold_0")],
    top: Annotated[int, typer.Option("--top", min=1, help="How many of the hardest cases.")] = 20,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print all columns as CSV.")] = False,
) -> None:
    """Print a training's hardest cases, hardest first, from its record.

    Hardest structure: that of the largest smoothed soft Dice loss, 0 to 1 (of trainings that tracked structures).
    Chance: of a single draw now, in times of uniform sampling; the column 'probability' of --csv. Where a batch draws
    no case twice, what comes of it is less uneven. Drawn: what came of it in the whole training, the case's visits in
    times of all cases' mean.

    \b
    Example:
      hws-nnunet hardness $nnUNet_results/Dataset501_FetalBrain/HardnessWeightedTrainer__.../fold_0 --top 10
    """
    from hws_nnunet.commands.hardness import hardness_table
    from hws_nnunet.record.cases import read_cases
    from hws_nnunet.record.structures import read_hardest_structures

    rows = read_cases(fold)
    if as_csv:
        writer = csv.DictWriter(sys.stdout, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows[:top])
        return
    print("\n".join(hardness_table(rows, read_hardest_structures(fold), top=top)))


@app.command()
def watch(
    fold: Annotated[Path, typer.Argument(help="A fold's folder: .../HardnessWeightedTrainer__.../fold_0")],
    top: Annotated[int, typer.Option("--top", min=1, help="How many of the hardest cases, at most.")] = 20,
    every: Annotated[float, typer.Option("--every", min=0.1, help="Seconds between two looks.")] = 2.0,
    once: Annotated[bool, typer.Option("--once", help="Print one view and end.")] = False,
) -> None:
    """Watch a training in the terminal: time left, effective sample size, beta, and the hardest cases over the epochs.

    Reads the record's files alone. Ctrl-C ends it, and nothing else. Where the output is no terminal, or the training
    is over, it prints one view and ends.

    \b
    Example:
      hws-nnunet watch $nnUNet_results/Dataset501_FetalBrain/HardnessWeightedTrainer__.../fold_0
    """
    from hws_nnunet.commands.watch import watch_fold

    watch_fold(fold, top=top, every=every, once=once)


@app.command()
def cost(
    cases: Annotated[int, typer.Option("--cases", min=1, help="Of the data set.")],
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Samples in a batch.")] = 2,
) -> None:
    """Tell what draws and updates cost on this machine, for a data set of that size: time and memory, in seconds.

    \b
    Example:
      hws-nnunet cost --cases 1251 --batch-size 2
    """
    from hws_nnunet.commands.cost import cost as measure_cost

    print("\n".join(measure_cost(cases, batch_size)))


app.command()(weights)


@app.command()
def gallery(
    fold: Annotated[Path, typer.Argument(help="A fold's folder: .../HardnessWeightedTrainer__.../fold_0")],
    out: Annotated[Path | None, typer.Option("--out", help="Folder to make; default: gallery, in the fold's.")] = None,
    top: Annotated[int, typer.Option("--top", min=1, help="How many cases.")] = 10,
    worst: Annotated[
        bool, typer.Option("--worst", help="The validation cases of lowest Dice, instead of the hardest in training.")
    ] = False,
    predictions: Annotated[
        Path | None,
        typer.Option(
            "--predictions", help="Label maps of training cases; default: validations of this fold and its neighbours."
        ),
    ] = None,
    channel: Annotated[int, typer.Option("--channel", min=0, help="Of the image.")] = 0,
    window: Annotated[
        str | None, typer.Option("--window", help="Image values for black and white; default: by each image.")
    ] = None,
    raw: Raw = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier gallery.")] = False,
) -> None:
    """Make pictures of a training's hardest cases, to look for rare anatomy and for wrong labels.

    Three slices of each, bare and with the contours of the reference, and of a prediction where there is one; PNG files
    and index.html, which tells how to read them. Slices go through the prediction's error, else through the case's
    hardest structure, where the record tells it. Works for the folders of nnU-Net v2 and v1.

    \b
    Examples:
      hws-nnunet gallery $nnUNet_results/Dataset501_Fetal/.../fold_0
      hws-nnunet gallery .../fold_0 --worst --top 5 --out worst
      hws-nnunet gallery .../fold_0 --window=-160,240   # CT, soft tissue
    """
    from hws_nnunet.gallery import find_layout, make_gallery

    layout = find_layout(fold)
    page = make_gallery(
        fold,
        raw_folder(raw, NnUNet(layout.version)),
        out=out,
        top=top,
        worst=worst,
        predictions=predictions,
        channel=channel,
        window=None if window is None else _window(window),
        overwrite=overwrite,
        progress=True,
    )
    print(f"drew {len(list(page.parent.glob('*.png')))} case(s); open {page}")


def _window(text: str) -> tuple[float, float]:
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        raise ValueError(f"--window expects two numbers with a comma between them, given: {text!r}") from None
    return low, high


@app.command()
def doctor(
    nnunet: Annotated[NnUNet | None, typer.Option("--nnunet", help="Check for this one alone; default: both.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Check the installation: one line a check, each failure with its mend.

    Ends with exit code 0 only if all that is required holds. Where both versions of nnU-Net are installed and the
    folders of one alone are set, nothing of the other is required.

    \b
    Examples:
      hws-nnunet doctor
      hws-nnunet doctor --nnunet v2
    """
    from hws_nnunet.commands.doctor import examine

    checks = examine(nnunet.value if nnunet else None)
    failed = sum(check.required and not check.ok for check in checks)
    if as_json:
        print(json.dumps([asdict(check) for check in checks], indent=2))
    else:
        print("\n".join(check.line() for check in checks))
        print("all that is required holds" if not failed else f"{failed} required check(s) failed")
    raise typer.Exit(1 if failed else 0)


@app.command()
def export(
    model_folder: Annotated[Path, typer.Argument(help="nnUNet_results/DatasetXXX_Name/TRAINER__PLANS__CONFIGURATION")],
    out: Annotated[Path, typer.Argument(help="The folder to make.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace it.")] = False,
) -> None:
    """Copy a trained model so that people with nnU-Net alone predict with it.

    \b
    Example:
      hws-nnunet export $nnUNet_results/Dataset501_FetalBrain/HardnessWeightedTrainer__nnUNetPlans__3d_fullres model
      nnUNetv2_predict_from_modelfolder -i IN -o OUT -m model -f 0
    """
    from hws_nnunet.nnunetv2.export import export_model

    for checkpoint in export_model(model_folder, out, overwrite=overwrite):
        print(f"wrote {checkpoint}")
    print(f"next, anywhere: nnUNetv2_predict_from_modelfolder -i IN -o OUT -m {out} -f FOLD")


@app.command()
def report(
    results: Annotated[list[str], typer.Argument(metavar="[NAME=]PATH...", help="Result sets, the baseline first.")],
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder to make; default: robustness_report, in a fold given alone.")
    ] = None,
    subgroups: Annotated[Path | None, typer.Option("--subgroups", help="subgroups.csv: case, subgroup.")] = None,
    references: Annotated[Path | None, typer.Option("--references", help="Folder of reference label maps.")] = None,
    dataset: Annotated[Path | None, typer.Option("--dataset", help="dataset.json, for the names of labels.")] = None,
    columns: Annotated[
        str | None, typer.Option("--from", metavar="THEIRS=OURS,...", help="What a table's columns are.")
    ] = None,
    threshold: Annotated[float, typer.Option("--threshold", help="A Dice below it is a failure.")] = 0.5,
    tolerance: Annotated[float, typer.Option("--tolerance", help="Of normalised surface Dice, in mm.")] = 1.0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier report.")] = False,
) -> None:
    """Report how results fare on the worst cases and subgroups: HTML with figures, Markdown and CSV.

    A PATH is nnU-Net's summary.json (v1 or v2) or its folder or fold, a table (.csv with the columns case, label,
    Dice, and perhaps set, subgroup, HD95, NSD, n_ref and n_pred; --from tells other headings, dice% what is in
    percent), or, with --references, a folder of predictions, of which Dice, HD95 and normalised surface Dice are
    computed. Further sets are compared with the first, case by case. A fold or table needs no name.

    \b
    Example:
      hws-nnunet report uniform=nnUNetTrainer__nnUNetPlans__3d_fullres/fold_0/validation \\
        hws=HardnessWeightedTrainer__nnUNetPlans__3d_fullres/fold_0/validation --subgroups subgroups.csv
      hws-nnunet report hws=predictions --references labelsTs --dataset dataset.json --tolerance 2 --out report
      hws-nnunet report published.csv --from "Study=case,ROI=label,Methods=set,Condition=subgroup,dice=dice%"
    """
    from hws_nnunet.report.command import run_report

    run_report(
        results,
        out,
        subgroups=subgroups,
        references=references,
        dataset=dataset,
        columns=columns,
        threshold=threshold,
        tolerance=tolerance,
        overwrite=overwrite,
    )


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
