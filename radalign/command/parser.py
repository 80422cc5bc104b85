"""The options of the command `radalign`. The parser imports none of what the sub-commands need."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import version

DESCRIPTION = "Pretrain, evaluate and use vision-language models of chest radiographs and their reports."
Runner = Callable[[argparse.Namespace], int]


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands. It imports none of what they need."""
    parser = argparse.ArgumentParser(prog="radalign", description=DESCRIPTION)
    parser.add_argument("--version", action="version", version=f"radalign {version('radalign')}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for add in (
        _add_inspect,
        _add_ingest,
        _add_pretrain,
        _add_evaluate,
        _add_audit,
        _add_monitor,
        _add_import,
        _add_predict,
        _add_export,
        _add_serve,
        _add_results,
        _add_doctor,
        _add_clean,
        _add_methods,
        _add_datasets,
    ):
        add(commands)
    return parser


def _command(commands: argparse._SubParsersAction, name: str, help_text: str, runner: str):  # type: ignore[no-untyped-def,type-arg]  # noqa: ANN202
    """A sub-command whose function `runner`, such as `using.run_predict`, is imported when it runs."""
    parser = commands.add_parser(name, help=help_text, description=help_text)

    def run(options: argparse.Namespace) -> int:
        module, function = runner.split(".")
        chosen: Runner = getattr(import_module(f"radalign.command.{module}"), function)
        return chosen(options)

    parser.set_defaults(run=run)
    return parser


def _add_inspect(commands: argparse._SubParsersAction) -> None:  # type: ignore[type-arg]
    parser = _command(
        commands,
        "inspect",
        "Say what a folder is (a published dataset, a table with images, a tree of DICOM files), what would become of "
        "it, and what to type next. No pixels are opened.",
        "inspecting.run_inspect",
    )
    parser.add_argument("path", metavar="PATH", help="a folder, a table with a row per image, or an archive.yaml")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    parser.add_argument(
        "--write",
        default="",
        metavar="FILE",
        help="write the description of an export that is no published dataset, such as archive.yaml, to start from",
    )
    parser.add_argument("--force", action="store_true", help="let --write replace a file that is there")


def _add_ingest(commands: argparse._SubParsersAction) -> None:  # type: ignore[type-arg]
    parser = _command(
        commands,
        "ingest",
        "Bring the shards of a dataset up to date with its archive: the job ingest.",
        "running.run_ingest",
    )
    _add_run(parser, "a setting of a stage (`images.size=224`)")
    _add_root(parser, "folder of the archive; default: RADALIGN_<DATASET>_ROOT")
    _add_home(parser)


def _add_pretrain(commands: argparse._SubParsersAction) -> None:  # type: ignore[type-arg]
    parser = _command(
        commands,
        "pretrain",
        "Pretrain a method, from the archive to a few results: the job pretrain_<method>. With --shards and --output: "
        "on shards that are there, without Dagster. The same command goes on where it was stopped.",
        "running.run_pretrain",
    )
    parser.add_argument("method", help="a method: see `radalign methods`")
    parser.add_argument("--shards", default="", help="folder of shards, with manifest.json, to train on directly")
    parser.add_argument("--output", default="", help="with --shards: folder of the run; the same folder resumes it")
    parser.add_argument(
        "--knowledge", default="", help="table of descriptions (Parquet); default: the one that is shipped"
    )
    _add_run(parser, "a setting of the training (`epochs=1`), the method (`method_config.width=64`) or a stage")
    _add_root(parser, "folder of the dataset's archive; default: RADALIGN_<DATASET>_ROOT")
    _add_home(parser)


def _add_evaluate(commands: argparse._SubParsersAction) -> None:  # type: ignore[type-arg]
    parser = _command(
        commands,
        "evaluate",
        "Evaluate the latest run of a method on every dataset that has an archive: the job evaluate_<method>. With "
        "DATASET: a model on one dataset, without Dagster.",
        "running.run_evaluate",
    )
    _add_model(parser)
    parser.add_argument("dataset", nargs="?", default="", help="a dataset: see `radalign datasets`")
    _add_root(parser, "folder of the archive of DATASET or, without it, of the pretraining")
    _add_run(parser, "a setting of the evaluation (`repeats=3`, `fine_tune.epochs=5`), without DATASET")
    parser.add_argument(
        "--task", action="append", dest="tasks", help="a task; can be repeated; default: all tasks of the dataset"
    )
    parser.add_argument(
        "--fraction", action="append", type=float, dest="fractions",
        help="share of the training patients whose labels are seen: 0.01, 0.1 or 1; can be repeated; default: all",
    )  # fmt: skip
    parser.add_argument(
        "--repeats",
        type=int,
        default=1,
        help="number of trainings of each classifier, detector or decoder, each with another random seed",
    )
    parser.add_argument("--split", default="", help="family of splits, where the dataset has several")
    parser.add_argument(
        "--unit", default="image", help="what has one score: `image` (default), or `study`, the mean over its images"
    )
    parser.add_argument(
        "--view",
        default="frontal",
        help="images that are learnt from and scored: `frontal` (default), `lateral`, `all`",
    )
    parser.add_argument(
        "--ask", default="name", help="what zero-shot classification asks for a finding with: `name`, or `description`"
    )
    parser.add_argument("--csv", default="", metavar="FILE", help="write all numbers to a CSV file")


def _add_audit(commands: argparse._SubParsersAction) -> None:  # type: ignore[type-arg]
    parser = _command(
        commands,
        "audit",
        "Audit the latest run of a method: calibration, operating points, gaps between groups, shortcuts, and a model "
        "card: the job audit_<method>.",
        "running.run_audit",
    )
    _add_trained(parser, "a setting of the audit (`level=0.01`) or the evaluation (`evaluation.cohorts=[chexpert]`)")


def _add_monitor(commands: argparse._SubParsersAction) -> None:  # type: ignore[type-arg]
    parser = _command(
        commands,
        "monitor",
        "Score the studies that came after the training of a method with its latest run, and compare each night with "
        "the training data: the job monitor_<method>. Nothing is trained.",
        "running.run_monitor",
    )
    _add_trained(parser, "a setting of the comparison (`level=0.05`)")


def _add_trained(parser: argparse.ArgumentParser, settings: str) -> None:
    """The options of a job on the latest run of a method; `settings` says what can be set."""
    parser.add_argument("method", help="a method: see `radalign methods`")
    _add_run(parser, settings)
    _add_root(parser, "folder of the archive of the pretraining; default: RADALIGN_<DATASET>_ROOT")
    _add_home(parser)


def _add_import(commands: argparse._SubParsersAction) -> None:  # type: ignore[type-arg]
    parser = _command(
        commands,
        "import",
        "Make a released file of weights a run, for `radalign evaluate` and `radalign predict`. Nothing in the file is "
        "executed.",
        "using.run_import",
    )
    parser.add_argument("file", help="the released file")
    parser.add_argument(
        "--method", default="", help="whose file it is: see `radalign methods`; default: recognised by its weights"
    )
    parser.add_argument(
        "--texts",
        default="",
        metavar="FOLDER",
        help="folder of the text encoder (configuration, vocabulary, weights where the file lacks them)",
    )
    parser.add_argument(
        "--size",
        type=int,
        default=0,
        metavar="PIXELS",
        help="side of its images, where files of its format do not say it: 224, 512 or 1024 of KAD",
    )
    parser.add_argument("--name", default="", help="added to what results call it: medklip:released-NAME")
    _add_home(parser, "dataset that it is evaluated beside; default: RADALIGN_COHORT, else phantom")


def _add_predict(commands: argparse._SubParsersAction) -> None:  # type: ignore[type-arg]
    parser = _command(commands, "predict", "Score findings in images, without training for them.", "using.run_predict")
    _add_model(parser)
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="DICOM, JPG or PNG files, or folders of them")
    parser.add_argument(
        "--label",
        "--findings",
        action="extend",
        nargs="+",
        required=True,
        dest="labels",
        metavar="FINDING",
        help="findings in words; can be repeated",
    )
    parser.add_argument("--out", default="", metavar="FILE", help="write the table to a CSV file instead")
    parser.add_argument(
        "--maps", default="", metavar="FOLDER", help="also write a picture of where each finding is seen in each image"
    )


def _add_export(commands: argparse._SubParsersAction) -> None:  # type: ignore[type-arg]
    parser = _command(
        commands,
        "export",
        "Write a model as a folder that another project loads with its own tools.",
        "using.run_export",
    )
    _add_model(parser)
    parser.add_argument(
        "--to",
        required=True,
        metavar="PROJECT",
        help="open_clip, timm, transformers, onnx, or safetensors (a folder for radalign.load)",
    )
    parser.add_argument("--out", default="", metavar="FOLDER", help="default: METHOD-PROJECT, such as mgca-timm")
    parser.add_argument(
        "--findings", nargs="+", default=[], metavar="FINDING", help="with onnx: also a graph of their zero-shot scores"
    )


def _add_serve(commands: argparse._SubParsersAction) -> None:  # type: ignore[type-arg]
    parser = _command(
        commands,
        "serve",
        "Look at images in the browser, with scores and heat maps of one model or of two; for programs: /predict. On "
        "this machine only. Not a medical device.",
        "using.run_serve",
    )
    parser.add_argument(
        "models", nargs="+", metavar="MODEL", help="folder of a finished run, or a method's name for its latest run"
    )
    parser.add_argument("--weights", default="trained", help="trained, untrained, or a file of the run")
    parser.add_argument("--port", type=int, default=8300, help="default 8300; 0 for one that is free")
    parser.add_argument("--limit", type=int, default=200, metavar="MIB", help="of an image file; default 200 MiB")
    _add_home(parser)


def _add_results(commands: argparse._SubParsersAction) -> None:  # type: ignore[type-arg]
    parser = _command(
        commands,
        "results",
        "Print the results of the latest trainings on every cohort of a home, the newest first.",
        "looking.run_results",
    )
    _add_home(parser, "only networks that were pretrained on this dataset; default: on any")
    parser.add_argument("--csv", default="", metavar="FILE", help="write the rows to a CSV file instead")


def _add_doctor(commands: argparse._SubParsersAction) -> None:  # type: ignore[type-arg]
    parser = _command(
        commands, "doctor", "Say what this machine has, what is missing, and what to do.", "looking.run_doctor"
    )
    _add_home(parser)


def _add_clean(commands: argparse._SubParsersAction) -> None:  # type: ignore[type-arg]
    parser = _command(
        commands, "clean", "Remove from a home what no run needs: old batches and versions.", "looking.run_clean"
    )
    parser.add_argument("--home", default="", help="where everything is kept; default: RADALIGN_HOME, else var")
    parser.add_argument("--dry-run", action="store_true", help="say what would be removed, and remove nothing")


def _add_methods(commands: argparse._SubParsersAction) -> None:  # type: ignore[type-arg]
    parser = _command(commands, "methods", "List the methods, or the settings of one.", "looking.run_methods")
    parser.add_argument("method", nargs="?", help="show its settings and its recipe")


def _add_datasets(commands: argparse._SubParsersAction) -> None:  # type: ignore[type-arg]
    parser = _command(commands, "datasets", "List the datasets, or what one is good for.", "looking.run_datasets")
    parser.add_argument("dataset", nargs="?", help="show its labels, its tasks and where its archive comes from")


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="folder of a finished run, or a method's name for its latest run")
    parser.add_argument("--weights", default="trained", help="trained, untrained, or a file of the run")
    _add_home(parser)


def _add_run(parser: argparse.ArgumentParser, settings: str) -> None:
    parser.add_argument(
        "--preset",
        help="what gives the settings that nobody gives: demo, paper or small_gpu; default: RADALIGN_PRESET, else demo "
        "for simulated images and paper for others",
    )
    parser.add_argument(
        "-c",
        "--config",
        action="append",
        default=[],
        metavar="FILE",
        help="run config (YAML) of the job; repeatable",
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", dest="settings", help=f"{settings}; can be repeated"
    )


def _add_root(parser: argparse.ArgumentParser, text: str) -> None:
    parser.add_argument("--root", default="", help=text)


def _add_home(
    parser: argparse.ArgumentParser, cohort: str = "dataset of the pretraining; default: RADALIGN_COHORT, else phantom"
) -> None:
    parser.add_argument("--home", default="", help="where everything is kept; default: RADALIGN_HOME, else var")
    parser.add_argument("--cohort", default="", help=cohort)
