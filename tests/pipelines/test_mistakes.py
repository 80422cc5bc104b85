"""Typical mistakes, each with what is said of it: one sentence that names the thing and the remedy, and no stack."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path

import pytest
import yaml

from pipelines.preflight.network import find_mistake
from pipelines.run.__main__ import main
from radalign.command import main as radalign
from store.code import ROOT
from training.config import TrainingConfig

MOST_LINES = 9
MISTAKE, STOPPED = 2, 130
PATIENCE = 300  # seconds for a process
PRETRAIN, EVALUATE, INGEST = "pretrain_medklip", "evaluate_medklip", "ingest"
Usage = namedtuple("Usage", "total used free")


def medklip(**config):
    return {"ops": {"pretrained__medklip": {"config": config}}}


def network(**config):
    return medklip(method_config=config)


def described(text: str):
    return {"resources": {"workspace": {"config": {"cohort": "archive", "description": text}}}}


def evaluation(**config):
    return {"resources": {"evaluation": {"config": config}}}


# The job, the run config (text or a mapping), variables, and what the sentence says.
TABLE = {
    "method": ("pretrain_medklp", {}, {}, ["`medklp`", "did you mean `medklip`?"]),
    "job": ("injest", {}, {}, ["no job injest", "did you mean `ingest`?"]),
    "YAML": (INGEST, "ops: {images: [1, 2\n", {}, ["run.yaml, line 2", "no YAML", "Correct it"]),
    "Python file": (INGEST, "import dagster as dg\n", {}, ["run.yaml is no run config", "it begins with `ops:`"]),
    "list": (INGEST, "- ops\n", {}, ["run.yaml is no run config", "`resources:`"]),
    "damaged file": (INGEST, b"ops: \xff\xfe\x00", {}, ["run.yaml is no text"]),
    "field": (PRETRAIN, medklip(epoch=3), {}, ["no field `epoch`", "did you mean `epochs`?"]),
    "renamed field": (PRETRAIN, medklip(chunks=2), {}, ["`chunks`", "did you mean `micro_batches`?"]),
    "renamed repeats": (PRETRAIN, evaluation(draws=2), {}, ["`draws`", "did you mean `repeats`?"]),
    "field of the method": (PRETRAIN, network(widht=8), {}, ["method_config", "`widht`", "did you mean `width`?"]),
    "field of a stage": (INGEST, {"ops": {"images": {"config": {"sise": 8}}}}, {}, ["`sise`", "did you mean `size`?"]),
    "asset": (PRETRAIN, {"ops": {"pretrained_medklip": {}}}, {}, ["did you mean `pretrained__medklip`?"]),
    "section": (PRETRAIN, {"op": {}}, {}, ["no field `op`", "did you mean `ops`?"]),
    "text for a number": (PRETRAIN, medklip(epochs="many"), {}, ["epochs is 'many'", "must be a number"]),
    "1e-4": (PRETRAIN, "ops: {pretrained__medklip: {config: {learning_rate: 1e-4}}}", {}, ["write it like 1.0e-4"]),
    "list for a number": (PRETRAIN, medklip(batch_size=[8]), {}, ["batch_size is [8]", "must be a single value"]),
    "text for a switch": (PRETRAIN, medklip(compile="yes"), {}, ["compile is 'yes'", "true or false"]),
    "negative epochs": (PRETRAIN, medklip(epochs=-1), {}, ["`epochs` is -1.0", "at least 0"]),
    "no batch": (PRETRAIN, medklip(batch_size=0), {}, ["`batch_size` is 0", "above 0"]),
    "optimizer": (PRETRAIN, medklip(optimizer="adamm"), {}, ["`optimizer` is adamm", "one of adamw, adam, sgd"]),
    "micro batches": (PRETRAIN, medklip(batch_size=8, micro_batches=3), {}, ["`micro_batches` is 3", "divide"]),
    "variant": (PRETRAIN, medklip(variant="a b"), {}, ["variant is 'a b'"]),
    "choice": (PRETRAIN, network(existence_head="x"), {}, ["`scalar` or `softmax`", "not `x`"]),
    "image size": (INGEST, {"ops": {"images": {"config": {"size": 4}}}}, {}, ["`size` is 4", "32..1024"]),
    "no studies": (INGEST, {"ops": {"archive": {"config": {"studies": 0}}}}, {}, ["`studies` must be at least 1"]),
    "fraction": (PRETRAIN, evaluation(fractions=[0.5]), {}, ["fractions names 0.5", "0.01, 0.1, 1.0"]),
    "no repeats": (PRETRAIN, evaluation(repeats=0), {}, ["evaluation: `repeats` is 0", "at least 1"]),
    "task's epochs": (EVALUATE, evaluation(fine_tune={"epochs": -2}), {}, ["`epochs` is -2", "at least"]),
    "dataset to evaluate on": (EVALUATE, evaluation(cohorts=["rsna"]), {}, ["rsna", "did you mean `rsna_pneumonia`?"]),
    "executor": (INGEST, {"execution": {"config": {"slurm": {}}}}, {}, ["`slurm`", "in_process", "multiprocess"]),
    "dataset": (INGEST, {}, {"RADALIGN_COHORT": "mimic"}, ["no dataset 'mimic'", "did you mean `mimic_cxr`?"]),
    "no archive": (INGEST, {}, {"RADALIGN_COHORT": "open_i"}, ["open_i has no archive", "set RADALIGN_OPEN_I_ROOT"]),
    "archive": (
        INGEST,
        {},
        {"RADALIGN_COHORT": "open_i", "RADALIGN_OPEN_I_ROOT": "/nowhere"},
        ["RADALIGN_OPEN_I_ROOT is /nowhere", "no folder", "set it to"],
    ),
    "variable": (
        INGEST,
        {},
        {"RADALIGN_COHORT": "mimic_cxr", "RADALIGN_MIMC_CXR_ROOT": "/data"},
        ["RADALIGN_MIMC_CXR_ROOT is no variable", "did you mean RADALIGN_MIMIC_CXR_ROOT?"],
    ),
    "archive to evaluate on": (
        EVALUATE,
        {},
        {"RADALIGN_CHEXPERT_ROOT": "/nowhere"},
        ["RADALIGN_CHEXPERT_ROOT is /nowhere", "no folder"],
    ),
    "no reports": (PRETRAIN, {}, {"RADALIGN_COHORT": "chexpert"}, ["chexpert has images without reports", "evaluate"]),
    "description": (INGEST, described("manifst: a.csv"), {}, ["description, line 1", "did you mean `manifest`?"]),
    "description without a folder": (INGEST, described("split: 70/10/20"), {}, ["no absolute folder as its `root`"]),
    "description without reports": (
        PRETRAIN,
        described("root: /\nmanifest: a.csv\ncolumns: {image: a, patient: none}"),
        {},
        ["archive has images without reports", "evaluate"],
    ),
    "nothing to evaluate": (EVALUATE, {}, {}, ["medklip has no finished run", "pretrain_medklip", "first"]),
    "read-only home": (INGEST, {}, {"RADALIGN_HOME": "/proc/radalign"}, ["/proc/radalign cannot be written to", "set"]),
    "file as home": (INGEST, {}, {"RADALIGN_HOME": "/dev/full"}, ["/dev/full is a file", "set RADALIGN_HOME"]),
    "text encoder": (
        PRETRAIN,
        network(text_encoder="/no/bert"),
        {},
        ["text_encoder names /no/bert", "correct the path"],
    ),
    "preset": (PRETRAIN, {}, {"RADALIGN_PRESET": "papers"}, ["`RADALIGN_PRESET=papers`", "did you mean `paper`?"]),
    "no GPU": (
        PRETRAIN,
        {},
        {"CUDA_VISIBLE_DEVICES": "", "RADALIGN_COHORT": "open_i", "RADALIGN_OPEN_I_ROOT": "/"},
        ["preset paper is for a GPU", "set RADALIGN_PRESET=demo"],
    ),
    "weights": (PRETRAIN, network(image_weights="./no.pt"), {}, ["image_weights names ./no.pt", "correct the path"]),
}


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A home and a history of our own, and no other variable."""
    for name in list(os.environ):
        if name.startswith(("RADALIGN_", "DAGSTER_")):
            monkeypatch.delenv(name)
    history = tmp_path / "history"
    history.mkdir()
    (history / "dagster.yaml").write_text("telemetry: {enabled: false}\npython_logs: {python_log_level: INFO}\n")
    monkeypatch.setenv("DAGSTER_HOME", str(history))
    monkeypatch.setenv("RADALIGN_HOME", str(tmp_path / "home"))
    return tmp_path


def write(folder: Path, config) -> list[str]:
    """The options of a command for a run config."""
    path = folder / "run.yaml"
    if isinstance(config, bytes):
        path.write_bytes(config)
    else:
        path.write_text(config if isinstance(config, str) else yaml.safe_dump(config))
    return ["-c", str(path)] if config else []


def expect_sentence(output: str, phrases) -> None:
    assert "Traceback" not in output
    assert "Stack Trace" not in output
    assert len(output.splitlines()) <= MOST_LINES, output
    for phrase in phrases:
        assert phrase in output


@pytest.mark.parametrize("name", TABLE)
def test_a_mistake_is_one_sentence(place, name, monkeypatch, capfd):
    job, config, variables, phrases = TABLE[name]
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)
    status = main([job, *write(place, config)])
    printed = capfd.readouterr()
    assert status == MISTAKE
    expect_sentence(printed.out + printed.err, phrases)
    assert len(printed.err.splitlines()) == 1
    assert not list((place / "history").glob("history/runs/*"))  # no run was begun


def test_there_are_thirty_of_them():
    assert len(TABLE) >= 30


@pytest.mark.parametrize(
    ("options", "phrases"),
    [
        (["-c", "no.yaml"], ["no file", "no.yaml", "-c"]),
        (["-c", "."], ["is a folder", "-c"]),
        (["--set", "epochs"], ["NAME=VALUE", "`epochs`"]),
        (["--set", "epoch=1"], ["`epoch`", "did you mean `epochs`?"]),
        (["--set", "images.size=9"], ["`size` is 9"]),
        (["--set", "evaluation.fractions=[0.3]"], ["fractions names 0.3"]),
        (["--cohort", "chexpart"], ["did you mean `chexpert`?"]),
        (["--home", "/proc/home"], ["/proc/home cannot be written to"]),
        (["--cohort", "open_i", "--root", "/nowhere"], ["archive_root names /nowhere"]),
    ],
    ids=str,
)
def test_a_mistake_in_an_option_is_one_sentence(place, options, phrases, capfd):
    status = main([PRETRAIN, *options])
    printed = capfd.readouterr()
    assert status == MISTAKE
    expect_sentence(printed.out + printed.err, phrases)


def test_a_full_disk_is_known_before_the_run(place, monkeypatch, capfd):
    monkeypatch.setattr("shutil.disk_usage", lambda path: Usage(10**12, 10**12, 10**6))
    assert main([PRETRAIN]) == MISTAKE
    expect_sentence(capfd.readouterr().err, ["0.0 GB free", "make room"])


def test_a_disk_that_does_not_hold_the_images_is_known_before_they_are_decoded(place, monkeypatch, capfd):
    """How many there are is known when the archive is listed. Here that is after the simulation."""
    free = iter([10**9])
    monkeypatch.setattr("shutil.disk_usage", lambda path: Usage(10**12, 10**12, next(free, 10**4)))
    assert main([INGEST, *write(place, SMALL)]) == MISTAKE
    expect_sentence(capfd.readouterr().err, ["0.0 GB free", "the decoding of the images takes", "make room"])
    assert not list((place / "home").glob("phantom/images/*.parquet"))


SMALL = {
    "ops": {
        "archive": {"config": {"studies": 4, "height": 96}},
        "images": {"config": {"size": 64}},
    }
}


def test_a_disk_that_fills_up_is_one_sentence_and_the_same_command_goes_on(place, monkeypatch, capfd):
    options = write(place, SMALL)

    def fail(path: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    with monkeypatch.context() as full:
        full.setattr("store.atomic._flush_to_disk", fail)
        assert main([INGEST, *options]) == MISTAKE
    printed = capfd.readouterr()
    expect_sentence(printed.err, ["no room left", "make room", "The log is"])
    log = Path(printed.err.rpartition("The log is ")[2].strip().rstrip(".)"))
    assert log.is_relative_to(place / "home" / "logs")
    assert "STEP_FAILURE" in log.read_text()

    assert main([INGEST, *options]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith("shards ")]
    assert str(place / "home") in lines[-1]

    other = {"ops": {**SMALL["ops"], "archive": {"config": {"studies": 4, "height": 128}}}}
    assert main([INGEST, *write(place, other)]) == MISTAKE
    expect_sentence(capfd.readouterr().err, ["archive simulated with other settings", "choose another folder"])


def test_a_fault_of_ours_names_the_file_with_its_stack(place, monkeypatch, capfd):
    def fail(*_):
        raise KeyError("a secret of a report")

    monkeypatch.setattr("assets.ingestion.simulate_archive", fail)
    assert main([INGEST, *write(place, SMALL)]) == 1
    said = capfd.readouterr().err
    expect_sentence(said, ["KeyError in our code, at archive", str(place / "home" / "logs")])
    assert "secret" not in said
    log = Path(said.rpartition("the stack is in ")[2].strip().removesuffix("."))
    assert "in fail" in log.read_text()


@pytest.mark.parametrize(
    ("settings", "phrase"),
    [
        ({"method_config": {"image_encoder": "resnet5"}}, "image encoder `resnet5` is neither known to timm"),
        ({"method_config": {"image_encoder": "resnet18", "width": 130}}, "divisible"),
        ({"method_config": {"image_encoder": "resnet18", "image_stage": 9}}, "has the stages 1 to 4, not 9"),
        ({"augmentation": {"crop": 1}}, "`augmentation` has no field `crop`"),
        ({"augmentation": {"crop_scale": 7}}, "crop_scale"),
        ({"batch_size": 10**9}, "GB of memory or more"),
        ({}, ""),
    ],
    ids=str,
)
def test_a_network_that_cannot_be_trained_is_known_before_the_run(settings, phrase):
    usual = {"image_encoder": "resnet18", "text_encoder": "all-MiniLM-L6-v2", "width": 64}
    chosen = {**settings, "method_config": {**usual, **settings.get("method_config", {})}}
    mistake = find_mistake(TrainingConfig.from_dict({"method": "medklip", **chosen}, "the test"), 64)
    assert phrase in mistake
    assert bool(mistake) == bool(phrase)


@pytest.mark.parametrize(
    ("memory", "processes", "fits"),
    [
        ((20e9, False), 1, True),  # of the machine, which all processes share
        ((10e9, False), 2, False),
        ((10e9, True), 1, False),  # of a GPU, which one process has for itself
        ((10e9, True), 2, True),
        ((10e9, False), 0, True),  # others train, as Slurm's nodes for a login node
    ],
)
def test_the_memory_is_that_of_the_processes_that_train_here(monkeypatch, memory, processes, fits):
    monkeypatch.setattr("pipelines.preflight.network._memory", lambda: memory)
    chosen = {"image_encoder": "resnet18", "text_encoder": "all-MiniLM-L6-v2", "width": 64}
    batch = int(15e9 / (64 * 64 * 64))
    config = TrainingConfig.from_dict({"method": "medklip", "method_config": chosen, "batch_size": batch}, "the test")
    assert (find_mistake(config, 64, processes) == "") == fits


def test_an_encoder_that_is_not_there_ends_the_command_before_the_ingestion(place, capfd):
    assert main([PRETRAIN, "--set", "method_config.image_encoder=resnet5"]) == MISTAKE
    expect_sentence(capfd.readouterr().err, ["medklip cannot be trained", "`resnet5`"])
    assert not (place / "home").exists()


@pytest.mark.parametrize(
    ("arguments", "phrases"),
    [
        (["pretrain", "medklip", "--shards", "/nowhere"], ["--shards and --output go together"]),
        (["pretrain", "medklip", "--shards", "/nowhere", "--output", "{}/run"], ["/nowhere"]),
        (["pretrain", "medkilp", "--shards", "/nowhere", "--output", "{}/run"], ["did you mean `medklip`?"]),
        (["evaluate", "medkilp", "open_i"], ["did you mean `medklip`?"]),
        (["evaluate", "medklip", "rsna"], ["did you mean `rsna_pneumonia`?"]),
        (["evaluate", "medklip", "--task", "detection"], ["--task belongs to"]),
    ],
    ids=str,
)
def test_a_mistake_in_the_library_s_commands_is_one_sentence(place, arguments, phrases, capsys):
    status = radalign([argument.format(place) for argument in arguments])
    assert status == 1
    expect_sentence(capsys.readouterr().err, phrases)


def test_a_port_in_use_is_one_sentence(place, capfd):
    from pipelines.ui.__main__ import main as ui

    with socket.create_server(("127.0.0.1", 0)) as server, pytest.raises(SystemExit) as ended:
        ui(["--dagster-port", str(server.getsockname()[1])])
    assert ended.value.code
    expect_sentence(capfd.readouterr().err, ["in use", "--dagster-port"])


def test_a_damaged_config_of_a_training_is_one_sentence(tmp_path, capfd):
    from training.__main__ import main as training

    path = tmp_path / "config.json"
    path.write_text('{"method": "medklip", ')
    assert training([str(path)]) == 1
    expect_sentence(capfd.readouterr().err, ["config.json is not valid JSON"])


def test_a_run_is_checked_once(place, monkeypatch, capfd):
    """By the command, and not again by the executor in the same process."""
    looked = []

    def usage(path):
        looked.append(path)
        return Usage(10**12, 0, 10**12)

    monkeypatch.setattr("shutil.disk_usage", usage)
    monkeypatch.setattr("pipelines.preflight.check.expect_network", lambda *_: None)
    monkeypatch.setattr("assets.batched.expect_room", lambda *_: None)
    assert main([INGEST, *write(place, SMALL)]) == 0
    assert len(looked) == 1


def start(place: Path, *command: str) -> subprocess.Popen[str]:
    tool = Path(sys.executable).with_name(command[0])
    return subprocess.Popen(
        [str(tool), *command[1:]],
        cwd=ROOT,
        env={**os.environ, "DAGSTER_CLI_JOB_EXECUTE_MODULE_NAME": "pipelines.definitions"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.parametrize(
    ("config", "variables", "phrase"),
    [
        (medklip(epoch=3), {}, "ops.pretrained__medklip.config has no field `epoch`; did you mean `epochs`?"),
        ({}, {"RADALIGN_COHORT": "mimic"}, "There is no dataset 'mimic' (did you mean `mimic_cxr`?)"),
    ],
    ids=["field", "dataset"],
)
def test_dagster_says_the_sentence_last(place, config, variables, phrase, monkeypatch):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    process = start(place, "dagster", "job", "execute", "-j", PRETRAIN, *write(place, config))
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    expect_sentence(output, [])
    assert output.splitlines()[-1].startswith(f"radalign: {phrase}")


def test_ctrl_c_stops_a_run_and_the_same_command_goes_on(place):
    """The signal goes to the command alone, as where somebody ends it from another terminal."""
    many = {"ops": {"archive": {"config": {"studies": 60, "height": 96}}, "inventory": {"config": {"batch_size": 5}}}}
    options = write(place, many)
    process = start(place, "radalign", "ingest", *options)
    deadline = time.monotonic() + PATIENCE
    while not list((place / "home" / "phantom").glob("images/*.parquet")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == STOPPED, output
    assert output.splitlines()[-1] == "radalign: stopped; the same command goes on where it was."
    expect_sentence(output.replace("rows", "").partition("radalign:")[2], [])
    assert not (place / "home" / "phantom" / "shards").exists()
    process = start(place, "radalign", "ingest", *options)
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, output
    assert "shards" in output
