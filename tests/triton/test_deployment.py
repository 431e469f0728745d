"""docker/: images, compose, Kubernetes, KServe, Prometheus and Grafana, checked without a Docker engine or a cluster.

Dockerfiles go through hadolint, and those of their RUN lines that need no base image run in a clean environment; the
compose file, the Kubernetes and the KServe objects are validated against their schemas; what the dashboard asks for has
to be on a real server's metrics port.
"""

from __future__ import annotations

import fnmatch
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
import yaml

from runtime.triton.server import TritonServer
from tests.triton.kserve_models import faults, kserve_models
from tests.triton.wire import generate

CHECKOUT = Path(__file__).parents[2]
DOCKER = CHECKOUT / "docker"
BIN = Path(sys.executable).parent
DOCKERFILES = [DOCKER / "Dockerfile", DOCKER / "Dockerfile.exporter"]
KUBERNETES = DOCKER / "kubernetes"


def run(program: str, *arguments: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([BIN / program, *map(str, arguments)], capture_output=True, text=True, timeout=120)


def documents(path: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(path.read_text()))


def instructions(dockerfile: Path) -> list[tuple[str, str]]:
    """(instruction, rest), lines that are continued joined."""
    text = re.sub(r"^#.*\n", "", dockerfile.read_text(), flags=re.MULTILINE)
    lines = [line for line in re.sub(r"\\\n", " ", text).splitlines() if line.strip()]
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in lines]


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.name)
def test_dockerfiles_are_clean(dockerfile: Path) -> None:
    done = run("hadolint", dockerfile)
    assert (done.returncode, done.stdout) == (0, "")
    words = dict(instructions(dockerfile))
    assert words["USER"] == "1000:1000"


def test_the_linter_finds_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM debian\nRUN cd /tmp\n")
    assert run("hadolint", tmp_path / "Dockerfile").returncode != 0


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.name)
def test_what_is_copied_is_in_the_context(dockerfile: Path) -> None:
    ignored = Path(f"{dockerfile}.dockerignore").read_text().split()
    kept = [line[1:] for line in ignored if line.startswith("!")]
    for instruction, rest in instructions(dockerfile):
        for source in rest.split()[:-1] if instruction == "COPY" else []:
            assert (CHECKOUT / source).exists()
            assert any(fnmatch.fnmatch(source.removeprefix("./"), pattern) for pattern in kept), source


def test_the_run_lines_of_the_server_image_work_in_a_clean_environment(tmp_path: Path) -> None:
    """Those of the CPU build; the exporter's would download torch, and its other line makes a user."""
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    work = tmp_path / "work"
    work.mkdir()
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "ONNX"))}
    environment |= {
        "PIP_NO_COMPILE": "1",
        "ONNXRUNTIME": "onnxruntime",
        "PATH": f"{tmp_path}/venv/bin:{os.environ['PATH']}",
    }
    ran = 0
    for instruction, rest in instructions(DOCKERFILES[0]):
        if instruction == "COPY":
            for source in rest.split()[:-1]:
                place, found = work / source, CHECKOUT / source
                shutil.copytree(found, place) if found.is_dir() else shutil.copy(found, place)
        if instruction == "RUN":
            done = subprocess.run(
                ["bash", "-c", rest], cwd=work, env=environment, capture_output=True, text=True, timeout=500
            )
            assert done.returncode == 0, done.stderr
            ran += 1
    assert ran == 2
    assert "CPUExecutionProvider" in done.stdout
    probe = "import importlib.util as u; print([n for n in ('torch', 'transformers', 'onnx') if u.find_spec(n)])"
    python = tmp_path / "venv" / "bin" / "python"
    assert subprocess.run([python, "-c", probe], capture_output=True, text=True, cwd="/").stdout.strip() == "[]"


def test_the_compose_file_has_the_schema_and_is_safe() -> None:
    done = run("check-jsonschema", "--builtin-schema", "vendor.compose-spec", DOCKER / "compose.yaml")
    assert done.returncode == 0, done.stdout
    services = yaml.safe_load((DOCKER / "compose.yaml").read_text())["services"]
    assert set(services) == {"triton", "triton-cpu", "prometheus", "grafana", "exporter"}
    for name, service in services.items():
        assert service["read_only"] and service["cap_drop"] == ["ALL"], name
        assert service["user"].split(":")[0] not in ("", "0", "root"), name
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name
        assert name == "exporter" or "healthcheck" in service
        mounts = [volume.split(":")[0] for volume in service["volumes"] if volume.startswith(("./", "../"))]
        assert all((DOCKER / mount).exists() for mount in mounts), name
    assert services["triton"]["shm_size"] == "1gb"


def test_a_compose_file_that_is_wrong_is_found(tmp_path: Path) -> None:
    wrong = (DOCKER / "compose.yaml").read_text().replace("healthcheck:", "healthchek:")
    (tmp_path / "compose.yaml").write_text(wrong)
    assert run("check-jsonschema", "--builtin-schema", "vendor.compose-spec", tmp_path / "compose.yaml").returncode != 0


def test_prometheus_scrapes_what_compose_runs() -> None:
    services = yaml.safe_load((DOCKER / "compose.yaml").read_text())["services"]
    (job,) = yaml.safe_load((DOCKER / "prometheus" / "prometheus.yml").read_text())["scrape_configs"]
    ((target,),) = [config["targets"] for config in job["static_configs"]]
    host, port = target.split(":")
    for name in ("triton", "triton-cpu"):
        assert host in services[name]["networks"]["default"]["aliases"]
        assert any(mapping.endswith(f":{port}") for mapping in services[name]["ports"])


def test_the_kubernetes_objects_have_their_schemas(tmp_path: Path) -> None:
    files = [KUBERNETES / "triton.yaml", KUBERNETES / "autoscaler.yaml"]
    done = run("kubernetes-validate", "--strict", *files)
    assert done.returncode == 0, done.stdout + done.stderr
    (tmp_path / "wrong.yaml").write_text(files[0].read_text().replace("readinessProbe", "readynessProbe"))
    assert run("kubernetes-validate", "--strict", tmp_path / "wrong.yaml").returncode != 0


def test_the_kubernetes_objects_fit_together() -> None:
    objects = {document["kind"]: document for document in documents(KUBERNETES / "triton.yaml")}
    pod = objects["Deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    claim = next(volume["persistentVolumeClaim"] for volume in pod["volumes"] if volume["name"] == "models")
    assert claim["claimName"] == objects["PersistentVolumeClaim"]["metadata"]["name"]
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
    ports = {port["name"] for port in container["ports"]}
    assert {port["targetPort"] for port in objects["Service"]["spec"]["ports"]} == ports
    labels = objects["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert objects["Service"]["spec"]["selector"] == objects["Deployment"]["spec"]["selector"]["matchLabels"] == labels
    (scaler,) = documents(KUBERNETES / "autoscaler.yaml")
    assert scaler["spec"]["scaleTargetRef"]["name"] == objects["Deployment"]["metadata"]["name"]
    rules = yaml.safe_load((KUBERNETES / "prometheus-adapter-values.yaml").read_text())["rules"]["custom"]
    scaled = {metric["pods"]["metric"]["name"] for metric in scaler["spec"]["metrics"]}
    assert scaled == {rule["name"]["as"] for rule in rules}


@pytest.mark.triton
def test_the_kserve_objects_have_their_schemas(tmp_path: Path) -> None:
    """KServe's own fields by its SDK; the pod that it makes of a runtime by Kubernetes' schema."""
    models = kserve_models()
    runtime, service = documents(KUBERNETES / "inference-service.yaml")
    assert list(faults(runtime, "V1alpha1ServingRuntime", models)) == []
    assert list(faults(service, "V1beta1InferenceService", models)) == []
    pod = {"spec": {name: runtime["spec"][name] for name in ("containers", "volumes")}}
    check_pod(pod, tmp_path)
    check_pod(
        {"spec": {"containers": [{"name": "model", "ports": service["spec"]["predictor"]["model"]["ports"]}]}}, tmp_path
    )
    service["spec"]["predictor"]["model"]["storageURI"] = 5
    runtime["spec"]["supportedModelFormats"][0]["version"] = 1
    del runtime["spec"]["containers"]
    assert list(faults(service, "V1beta1InferenceService", models)) == [".spec.predictor.model.storageURI: unknown"]
    wrong = list(faults(runtime, "V1alpha1ServingRuntime", models))
    assert wrong == [".spec.containers: missing", ".spec.supportedModelFormats[0].version: 1 is no str"]


def check_pod(pod: dict[str, Any], folder: Path) -> None:
    """Raises AssertionError unless Kubernetes would take it."""
    whole = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}, **pod}
    (folder / "pod.yaml").write_text(yaml.safe_dump(whole))
    done = run("kubernetes-validate", "--strict", folder / "pod.yaml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_kserve_objects_fit_together() -> None:
    runtime, service = documents(KUBERNETES / "inference-service.yaml")
    assert (runtime["kind"], service["kind"]) == ("ServingRuntime", "InferenceService")
    model = service["spec"]["predictor"]["model"]
    assert model["runtime"] == runtime["metadata"]["name"]
    assert model["modelFormat"]["name"] in {entry["name"] for entry in runtime["spec"]["supportedModelFormats"]}
    (container,) = runtime["spec"]["containers"]
    # KServe mounts storageUri there, and calls the container by this name.
    assert "--model-repository=/mnt/models" in container["args"]
    assert container["name"] == "kserve-container"
    assert f"--http-port={model['ports'][0]['containerPort']}" in container["args"]
    claims = {entry["metadata"]["name"] for entry in documents(KUBERNETES / "triton.yaml")}
    assert model["storageUri"].removeprefix("pvc://") in claims


@pytest.mark.triton
def test_what_the_dashboard_and_the_autoscaler_ask_for_exists(zoo: TritonServer) -> None:
    generate(zoo, "gpt2-docs", text_input="def", max_tokens=2)
    text = urlopen(f"http://{zoo.address('metrics')}/metrics", timeout=30).read().decode()
    there = set(re.findall(r"^# TYPE (\w+)", text, flags=re.MULTILINE))
    dashboard = json.loads((DOCKER / "grafana" / "dashboards" / "onward.json").read_text())
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    rules = yaml.safe_load((KUBERNETES / "prometheus-adapter-values.yaml").read_text())["rules"]["custom"]
    asked += [rule["metricsQuery"] for rule in rules]
    names = {name for expression in asked for name in re.findall(r"\b(?:nv|onward)_\w+", expression)}
    assert len(names) > 10
    assert names <= there
    assert len(dashboard["panels"]) == len({panel["id"] for panel in dashboard["panels"]})


def test_grafana_finds_its_dashboard() -> None:
    provisioning = DOCKER / "grafana" / "provisioning"
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "onward.yaml").read_text())["providers"]
    (source,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yaml").read_text())["datasources"]
    services = yaml.safe_load((DOCKER / "compose.yaml").read_text())["services"]
    mounts = dict(volume.split(":")[:2] for volume in services["grafana"]["volumes"])
    assert mounts["./grafana/dashboards"] == provider["options"]["path"]
    assert source["url"] == "http://prometheus:9090" and "prometheus" in services
    dashboard = json.loads((DOCKER / "grafana" / "dashboards" / "onward.json").read_text())
    assert {panel["datasource"]["uid"] for panel in dashboard["panels"]} == {source["uid"]}
