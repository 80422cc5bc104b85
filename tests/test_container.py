"""The container: its file is well formed, holds no secret and drops root; where an engine answers, it is built."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib

import pytest
from packaging.specifiers import SpecifierSet

from store.code import ROOT

INSTRUCTIONS = {"ARG", "CMD", "COPY", "ENV", "FROM", "RUN", "USER", "VOLUME", "WORKDIR"}
SECRET = re.compile(r"password|passwd|secret|token|api_?key|private_?key", re.IGNORECASE)


def instructions() -> list[tuple[str, str]]:
    """Name and arguments of each instruction, with continued lines joined as the engine joins them."""
    text = "\n".join(line for line in (ROOT / "Dockerfile").read_text().split("\n") if not line.startswith("#"))
    lines = filter(None, (line.strip() for line in text.replace("\\\n", " ").split("\n")))
    return [(name, rest.strip()) for name, _, rest in (line.partition(" ") for line in lines)]


def values(name: str) -> list[str]:
    return [rest for instruction, rest in instructions() if instruction == name]


def run_shell(script: str, folder, **variables: str) -> subprocess.CompletedProcess:
    environment = {"PATH": os.environ["PATH"], **variables}
    return subprocess.run(
        ["sh", "-c", script], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_the_instructions_are_well_formed():
    names = [name for name, _ in instructions()]
    assert set(names) == INSTRUCTIONS
    assert names[names.index("FROM") - 1] == "ARG", "the version of Python is chosen before the first stage"
    stages = re.findall(r" AS (\w+)$", "\n".join(values("FROM")), re.MULTILINE)
    assert set(re.findall(r"--from=(\w+)", " ".join(values("COPY")))) <= set(stages)
    for command in values("RUN"):
        checked = subprocess.run(["sh", "-n", "-c", command], capture_output=True, text=True, check=False)
        assert checked.returncode == 0, checked.stderr


def test_the_python_is_one_that_the_package_takes():
    (version,) = (value.partition("=")[2] for value in values("ARG") if value.startswith("PYTHON_VERSION="))
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert f"{version}.1" in SpecifierSet(wanted)


def test_nothing_runs_as_root_and_nothing_secret_is_inside():
    after = [name for name, _ in instructions()][::-1]
    assert values("USER") == ["radalign"]
    assert "RUN" not in after[: after.index("USER")], "what follows USER installs nothing"
    assert not SECRET.search((ROOT / "Dockerfile").read_text())
    ignored = (ROOT / ".dockerignore").read_text().split()
    assert {".git", ".venv", "var", "**/*.key", "**/*.pem"} <= set(ignored)
    assert "**/.env" in ignored, "configs/cluster/services/.env has the passwords; a name alone counts at the top only"


def test_what_is_copied_is_there_and_not_ignored():
    ignored = (ROOT / ".dockerignore").read_text().split()
    for name in ("requirements.lock", "pyproject.toml", "README.md", "LICENSE", "dagster.yaml", "configs"):
        assert (ROOT / name).exists()
        assert name not in ignored


@pytest.fixture
def choose_packages(tmp_path):
    """Runs the step that chooses packages, with a Python that only notes its arguments."""
    (step,) = (command for command in values("RUN") if command.startswith("case "))
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\necho "$@" > installed\n')
    python.chmod(0o755)
    shutil.copy(ROOT / "requirements.lock", tmp_path)
    return lambda **variables: run_shell(step, tmp_path, **variables), tmp_path


def test_the_variants_install_what_they_are_for(choose_packages):
    choose, folder = choose_packages
    locked = set(re.findall(r"^[a-z].*", (ROOT / "requirements.lock").read_text(), re.MULTILINE))
    assert choose(VARIANT="cuda", TORCH_INDEX="").returncode == 0
    assert (folder / "rest.lock").read_text() == (ROOT / "requirements.lock").read_text()
    assert choose(VARIANT="cpu", TORCH_INDEX="file:///index").returncode == 0
    rest, torch = ((folder / name).read_text() for name in ("rest.lock", "torch.lock"))
    left_out = locked - set(re.findall(r"^[a-z].*", rest + torch, re.MULTILINE))
    assert left_out
    assert all(re.match("nvidia-|cuda-|triton==", line) for line in left_out)
    assert {line.partition("==")[0] for line in torch.split()} == {"torch", "torchvision"}
    assert not re.search(r"^(nvidia|cuda|triton|torch=|torchvision)", rest, re.MULTILINE)
    assert "--index-url file:///index" in (folder / "installed").read_text()


@pytest.mark.parametrize("variables", [{"VARIANT": "cpu", "TORCH_INDEX": ""}, {"VARIANT": "rocm", "TORCH_INDEX": ""}])
def test_a_wrong_variant_is_one_sentence(choose_packages, variables):
    choose, _ = choose_packages
    done = choose(**variables)
    assert done.returncode == 1
    assert done.stderr.startswith("VARIANT")
    assert done.stderr.count("\n") == 1


def engine_answers() -> bool:
    if not shutil.which("docker"):
        return False
    asked = subprocess.run(["docker", "version", "--format", "{{.Server.Version}}"], capture_output=True, check=False)
    return asked.returncode == 0


def test_the_image_is_built_where_an_engine_answers():
    if not engine_answers():
        pytest.skip("no Docker engine answers")
    subprocess.run(["docker", "build", "--tag", "radalign:test", str(ROOT)], check=True)
    command = ["docker", "run", "--rm", "radalign:test", "radalign", "methods"]
    assert "medklip" in subprocess.run(command, capture_output=True, text=True, check=True).stdout
