"""Compose file, manifests, unit and what is provisioned: valid, agreeing with each other and with the product."""

from __future__ import annotations

import configparser
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from router.settings import check_listener, load
from tests.deploy.image import steps_of

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / ".deploy"
BIN = Path(sys.executable).parent
CONFIG = DEPLOY / "config/nearfar.toml"
OVERLAYS = ["base", "cuda"]


def manifests(overlay: str) -> dict[str, dict[str, Any]]:
    """What an overlay comes to, by kind."""
    tool = shutil.which("kubectl", path=str(BIN)) or "kubectl"
    done = subprocess.run(
        [tool, "kustomize", DEPLOY / "kubernetes" / overlay], capture_output=True, text=True, check=False
    )
    assert 0 == done.returncode, done.stderr
    return {found["kind"]: found for found in yaml.safe_load_all(done.stdout)}


def compose() -> dict[str, Any]:
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))


def image() -> dict[str, list[str]]:
    """The instructions of the image's last stage."""
    found: dict[str, list[str]] = {}
    for step in steps_of(DEPLOY / "Dockerfile"):
        if step.name == "FROM":
            found = {}
        found.setdefault(step.name, []).append(step.value)
    return found


def test_every_file_passes_its_own_linter() -> None:
    """What `make lint` runs."""
    done = subprocess.run(["sh", DEPLOY / "check.sh", BIN], cwd=ROOT, capture_output=True, text=True, check=False)

    assert 0 == done.returncode, done.stdout + done.stderr


def test_a_compose_file_that_is_none_does_not_pass(tmp_path: Path) -> None:
    """The schema is asked, not only YAML."""
    broken = (DEPLOY / "compose.yaml").read_text(encoding="utf-8").replace("read_only: true", "read_only: [1]")
    (tmp_path / "compose.yaml").write_text(broken, encoding="utf-8")
    command = [BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", tmp_path / "compose.yaml"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (1, True) == (done.returncode, "read_only" in done.stdout)


def test_the_configuration_is_one_that_the_product_takes() -> None:
    """And it lets nobody in unasked, though it listens everywhere."""
    settings = load(CONFIG, {})
    check_listener(settings)

    assert ("0.0.0.0", "keys", "/var/lib/nearfar/nearfar.duckdb") == (
        settings.server.host,
        settings.auth.mode,
        settings.log.path,
    )


def test_image_compose_file_and_manifests_mean_the_same_port_folders_and_user() -> None:
    """One number and one path, wherever they are written."""
    port = load(CONFIG, {}).server.port
    parts, container = image(), manifests("base")["StatefulSet"]["spec"]["template"]["spec"]["containers"][0]
    service = compose()["services"]["nearfar"]

    assert [str(port)] == parts["EXPOSE"]
    assert f"http://127.0.0.1:{port}/health/ready" in parts["HEALTHCHECK"][0]
    assert [port] == [each["containerPort"] for each in container["ports"]]
    assert [f"127.0.0.1:{port}:{port}"] == service["ports"]
    assert parts["VOLUME"] == ["/var/lib/nearfar"]
    state = {"/var/lib/nearfar", "/etc/nearfar"}
    assert state < {volume.split(":")[1] for volume in service["volumes"]}
    assert state < {mount["mountPath"] for mount in container["volumeMounts"]}
    security = manifests("base")["StatefulSet"]["spec"]["template"]["spec"]["securityContext"]
    assert parts["USER"] == [f"{security['runAsUser']}:{security['runAsGroup']}"]


def test_every_variable_of_ours_is_a_setting() -> None:
    """A misspelt one is refused at the start: here, before."""
    written = re.findall(
        r"(NEARFAR_\w+__\w+)(?:[=:]|, value:)\s*([^\s}]+)",
        "\n".join(path.read_text(encoding="utf-8") for path in DEPLOY.rglob("*") if path.is_file()),
    )
    found = {name: value for name, value in written if value != "9000)."}

    assert found
    load(CONFIG, found)


def test_probes_ask_what_the_product_answers_and_whoever_stops_waits_for_what_runs() -> None:
    """Readiness and liveness are different questions; the pause before an end is longer than the drain."""
    spec = manifests("base")["StatefulSet"]["spec"]["template"]["spec"]
    paths = {name: spec["containers"][0][f"{name}Probe"]["httpGet"]["path"] for name in ("readiness", "liveness")}
    drain_s = load(CONFIG, {}).server.drain_timeout_s

    assert {"readiness": "/health/ready", "liveness": "/health/live"} == paths
    assert spec["terminationGracePeriodSeconds"] > drain_s + 5
    assert int(compose()["services"]["nearfar"]["stop_grace_period"].removesuffix("s")) > drain_s


def test_secrets_are_referred_to_and_never_written() -> None:
    """By name, or as they are in whoever's shell."""
    container = manifests("base")["StatefulSet"]["spec"]["template"]["spec"]["containers"][0]

    assert [{"secretRef": {"name": "nearfar", "optional": True}}] == container["envFrom"]
    assert ["HF_TOKEN"] == compose()["services"]["nearfar"]["environment"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_manifests_are_what_kubernetes_takes(overlay: str) -> None:
    """Also strictly: an unknown key is a misspelt one."""
    found = manifests(overlay)

    assert {"ConfigMap", "Service", "StatefulSet", "PodDisruptionBudget"} == set(found)
    for manifest in found.values():
        kubernetes_validate.validate(manifest, "1.33", strict=True)


def test_a_misspelt_manifest_is_not() -> None:
    """The schema is asked."""
    service = manifests("base")["Service"]
    service["spec"]["prots"] = service["spec"].pop("ports")
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(service, "1.33", strict=True)


def test_with_a_gpu_only_image_and_limit_differ() -> None:
    """One GPU a pod, and torch with CUDA."""
    plain, cuda = (manifests(name)["StatefulSet"]["spec"]["template"]["spec"]["containers"][0] for name in OVERLAYS)

    assert ("nearfar:cpu", "nearfar:cuda") == (plain["image"], cuda["image"])
    assert 1 == cuda["resources"]["limits"].pop("nvidia.com/gpu")
    assert plain | {"image": ""} == cuda | {"image": ""}


def test_a_ray_cluster_s_pods_are_what_kubernetes_takes() -> None:
    """The cluster itself is KubeRay's kind; what it is made of are pods, of the image that its routers have."""
    found = manifests("ray")
    cluster, router = found["RayCluster"]["spec"], found["StatefulSet"]["spec"]["template"]["spec"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]

    for number, group in enumerate(groups):
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": f"pod-{number}"},
            "spec": group["template"]["spec"],
        }
        kubernetes_validate.validate(pod, "1.33", strict=True)
    kubernetes_validate.validate(found["StatefulSet"], "1.33", strict=True)
    images = {
        each["image"]
        for spec in (router, *(group["template"]["spec"] for group in groups))
        for each in spec["containers"]
    }
    assert {"nearfar:ray"} == images


def test_a_router_s_pod_joins_the_ray_cluster() -> None:
    """By the service that KubeRay makes for its head, with Ray of the version that the image has."""
    found = manifests("ray")
    nearfar, ray = found["StatefulSet"]["spec"]["template"]["spec"]["containers"]
    variables = {each["name"]: each["value"] for each in nearfar["env"]}
    pinned = re.search(r"^ray==(\S+)", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)

    assert "auto" == load(CONFIG, variables).ray.address
    assert f"--address={found['RayCluster']['metadata']['name']}-head-svc:6379" in ray["command"]
    assert pinned is None or pinned[1] == found["RayCluster"]["spec"]["rayVersion"]


def test_the_service_monitor_asks_what_the_service_offers() -> None:
    """Its port by name, its labels, and the path that is for admins: with a key by reference."""
    text = (DEPLOY / "kubernetes/monitoring/service-monitor.yaml").read_text(encoding="utf-8")
    spec, service = yaml.safe_load(text)["spec"], manifests("base")["Service"]
    [endpoint] = spec["endpoints"]

    assert spec["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert endpoint["port"] in [port["name"] for port in service["spec"]["ports"]]
    assert ("/metrics", {"credentials": {"name": "nearfar-metrics", "key": "key"}}) == (
        endpoint["path"],
        endpoint["authorization"],
    )


def test_prometheus_and_grafana_find_what_they_are_told_of() -> None:
    """The scraped host and port, the key's file, the data source's address, and the product's own dashboard."""
    services, port = compose()["services"], load(CONFIG, {}).server.port
    [job] = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text(encoding="utf-8"))["scrape_configs"]
    [source] = yaml.safe_load((DEPLOY / "grafana/datasources/prometheus.yaml").read_text("utf-8"))["datasources"]
    [provider] = yaml.safe_load((DEPLOY / "grafana/dashboards/nearfar.yaml").read_text("utf-8"))["providers"]
    mounted = dict(volume.split(":")[:2][::-1] for volume in services["grafana"]["volumes"])

    assert [{"targets": [f"nearfar:{port}"]}] == job["static_configs"]
    assert job["authorization"]["credentials_file"] in services["key"]["command"][0]
    assert "keys:/run/nearfar:ro" in services["prometheus"]["volumes"]
    assert source["url"] == "http://prometheus:9090"
    board = f"{provider['options']['path']}/nearfar.json"
    assert services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"] == board
    file = (DEPLOY / mounted[board]).resolve()
    assert json.loads(file.read_text(encoding="utf-8"))["title"] == "Nearfar"


def test_only_this_machine_reaches_what_compose_publishes() -> None:
    """And nobody has more rights than it needs."""
    for name, service in compose()["services"].items():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name
        assert (["ALL"], ["no-new-privileges:true"]) == (service["cap_drop"], service["security_opt"]), name


def test_the_key_of_prometheus_is_made_once(tmp_path: Path) -> None:
    """The script of compose, run twice: the second run keeps the key, and a run that was broken off is taken up."""
    script = compose()["services"]["key"]["command"][0].replace("/run/nearfar", str(tmp_path))
    tools = tmp_path / "bin"
    tools.mkdir()
    nearfar = f'#!/bin/sh\nexec "{sys.executable}" -m router "$@"\n'
    (tools / "nearfar").write_text(nearfar, encoding="utf-8")
    (tools / "nearfar").chmod(0o755)
    environ = {
        "PATH": f"{tools}:/usr/bin:/bin",
        "PYTHONPATH": str(ROOT),
        "HOME": str(tmp_path),
        "NEARFAR_CONFIG": str(CONFIG),
        "NEARFAR_LOG__PATH": str(tmp_path / "nearfar.duckdb"),
    }
    made = []
    for _ in range(2):
        subprocess.run(["/bin/sh", "-ec", script], cwd=tmp_path, env=environ, check=True)
        made.append((tmp_path / "prometheus").read_text(encoding="utf-8").strip())

    assert made[0] == made[1]
    assert re.fullmatch(r"\S{20,}", made[0])


def test_the_unit_reloads_by_the_signal_and_keeps_its_state_where_the_configuration_says() -> None:
    """Systemd makes the folder and names it; the program's own drain fits into the time to stop."""
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read(DEPLOY / "systemd/nearfar.service")
    service, settings = unit["Service"], load(CONFIG, {})

    assert "/bin/kill -HUP $MAINPID" == service["ExecReload"]
    assert Path(settings.log.path).parent == Path("/var/lib") / service["StateDirectory"]
    assert "yes" == service["DynamicUser"]
    assert float(service["TimeoutStopSec"]) > settings.server.drain_timeout_s
