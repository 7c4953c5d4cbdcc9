"""The examples for clusters: what can be checked without a cluster."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from pathlib import Path

import pytest
from typer.main import get_command

from vaelab.cli.app import app

FOLDER = Path(__file__).parents[2] / "examples" / "cluster"
FILES = ("slurm.sh", "kuberay.yaml", "cloud.yaml")


@pytest.mark.parametrize("name", FILES)
def test_every_command_is_one_that_vaelab_accepts(name: str) -> None:
    text = re.sub(r"\n *(?=then|else)", " ", (FOLDER / name).read_text())
    commands = re.findall(r"vaelab (tune [^;)'\n]*)", text)
    assert commands
    tune = get_command(app).commands["tune"]  # type: ignore[attr-defined]
    for command in commands:
        _, *arguments = shlex.split(command)
        given = tune.make_context("tune", [text.replace("$TRIALS", "9") for text in arguments]).params
        assert given["ray"] == "auto"


def test_the_script_is_bash() -> None:
    subprocess.run(["bash", "-n", FOLDER / "slurm.sh"], check=True)


def test_the_cloud_file_fits_the_schema_of_ray() -> None:
    ray, yaml = (pytest.importorskip(name, reason="needs Ray: pip install 'vaelab[ray]'") for name in ("ray", "yaml"))
    schema = json.loads((Path(ray.__file__).parent / "autoscaler" / "ray-schema.json").read_text())
    pytest.importorskip("jsonschema").validate(yaml.safe_load((FOLDER / "cloud.yaml").read_text()), schema)


def test_the_file_of_kuberay_has_its_parts() -> None:
    yaml = pytest.importorskip("yaml", reason="needs Ray: pip install 'vaelab[ray]'")
    job = yaml.safe_load((FOLDER / "kuberay.yaml").read_text())
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    subprocess.run(["bash", "-n", "-c", job["spec"]["entrypoint"]], check=True)
    cluster = job["spec"]["rayClusterSpec"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    assert all(isinstance(value, str) for group in groups for value in group["rayStartParams"].values())
    images = {c["image"] for group in groups for c in group["template"]["spec"]["containers"]}
    assert len(images) == 1  # head and workers have the same versions
    (head,) = groups[0]["template"]["spec"]["containers"]
    volumes = {volume["name"] for volume in groups[0]["template"]["spec"]["volumes"]}
    assert {mount["name"] for mount in head["volumeMounts"]} <= volumes
