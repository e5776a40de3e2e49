"""The services for real, on free ports: runs by API, a cancellation, kills, repair, and no secret anywhere."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId

from tests.flows.tiny_run import tiny_sections
from tests.patience import PATIENCE_S, wait_for
from thickets.flows.config.file import dump_config, parse_config
from thickets.flows.config.run import RunConfig
from thickets.flows.deployments.client import start, submit
from thickets.flows.publish.artifacts import FINISHED_EVENT
from thickets.flows.results.runs import find_run, list_runs, load_summary
from thickets.flows.search.search import search
from thickets.flows.services.process import stop_session
from thickets.flows.services.settings import Credentials
from thickets.flows.services.state import ServicesState, read_state
from thickets.storage.home import Home
from thickets.storage.tracking.store import mlflow_client

ROOT = Path(__file__).parents[3]
pytestmark = pytest.mark.slow  # servers and workers of their own
CREDENTIALS = Credentials("operator", "planted-secret-2718")
OTHER_SECRET = "planted-key-31415"
NOTE = "mlflow.note.content"


@dataclass(frozen=True)
class Services:
    """What is up: its home and the environment of whoever uses it."""

    home: Home
    environment: dict[str, str]

    @property
    def state(self) -> ServicesState:
        state = read_state(self.home.root)
        assert state is not None
        return state

    def call(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "thickets", *arguments]
        return subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=PATIENCE_S, check=False
        )

    def prefect(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Prefect's own command line, from the root of the checkout."""
        environment = self.environment | {
            "PREFECT_API_URL": self.state.prefect_api,
            "PREFECT_API_AUTH_STRING": CREDENTIALS.pair,
        }
        command = [sys.executable, "-m", "prefect", "--no-prompt", *arguments]
        return subprocess.run(
            command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S, check=False
        )


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """Up for all tests of this file, with a password although on loopback; this process is their client."""
    home = Home(tmp_path_factory.mktemp("operated") / "home")
    of_the_tests = ("PREFECT_API", "PREFECT_LOGGING", "MLFLOW_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(of_the_tests)}
    environment |= {
        "PYTHONPATH": str(ROOT),
        "THICKETS_HOME": str(home.root),
        "THICKETS_AUTH": CREDENTIALS.pair,
        "AWS_SECRET_ACCESS_KEY": OTHER_SECRET,
        "OMP_NUM_THREADS": "1",
    }
    up = Services(home, environment)
    try:
        started = up.call("up", "--detach", "--prefect-port", "0", "--mlflow-port", "0", "--view-port", "0")
        assert started.returncode == 0, started.stderr
        assert len(started.stdout.splitlines()) == 4
        yield up
    finally:
        if read_state(home.root):
            assert up.call("down").returncode == 0


@pytest.fixture
def client(services: Services, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Prefect's client, with this process pointed at the services."""
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

    monkeypatch.setenv("MLFLOW_TRACKING_URI", services.state.mlflow)
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", CREDENTIALS.user)
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", CREDENTIALS.password)
    wanted = {PREFECT_API_URL: services.state.prefect_api, PREFECT_API_AUTH_STRING: CREDENTIALS.pair}
    forget_server()
    with temporary_settings(wanted), get_client(sync_client=True) as found:
        yield found
        forget_server()


def forget_server() -> None:
    """Prefect's threads for events, logs and limits keep to the first server of a process; the tests have two."""
    from prefect.events.worker import EventsWorker

    EventsWorker.drain_all(timeout=30, at_exit=False)  # those of every kind: they are in one register


@pytest.fixture
def request_of(tiny_model: Path) -> Callable[..., RunConfig]:
    """A configuration as a client sends it: without a home."""

    def make(**sections: Any) -> RunConfig:
        return parse_config(tiny_sections(tiny_model) | sections)

    return make


def n_shards(home: Home) -> int:
    return len(list((home.root / "shards").glob("*/*.parquet")))


def engine_of(client: Any, flow_run_id: Any) -> psutil.Process:
    """The process of a flow run, as soon as it has scored something."""
    return psutil.Process(wait_for(lambda: client.read_flow_run(flow_run_id).infrastructure_pid and _pid(flow_run_id)))


def _pid(flow_run_id: Any) -> int | None:
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get("PREFECT__FLOW_RUN_ID") == str(flow_run_id):
                return process.pid
    return None


def log_of(client: Any, flow_run_id: Any) -> str:
    """What a flow run has logged on the server, to say why it failed."""
    logged = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[flow_run_id]))
    return "\n".join(f"{line.timestamp:%H:%M:%S} {line.name}: {line.message}" for line in client.read_logs(logged))


def mlflow_status(services: Services, flow_run_id: Any) -> list[str]:
    found = mlflow_client(services.state.mlflow).search_runs(
        [each.experiment_id for each in mlflow_client(services.state.mlflow).search_experiments()],
        f"tags.`prefect.flow_run_id` = '{flow_run_id}'",
    )
    return [run.info.status for run in found]


def get(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE_S) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_nobody_gets_in_without_the_password(services: Services) -> None:
    assert get(f"{services.state.prefect_api}/admin/version") == 401
    assert get(f"{services.state.mlflow}/api/2.0/mlflow/experiments/search?max_results=1") == 401
    assert get(f"{services.state.view}/runs") == 401
    for row in services.state.services:
        command = " ".join(psutil.Process(row.process.pid).cmdline())
        assert CREDENTIALS.password not in command
    second = services.call("up", "--prefect-port", "0", "--mlflow-port", "0", "--view-port", "0")
    assert second.returncode == 1
    assert "are up already" in second.stderr


def test_a_submitted_search_comes_back_with_its_result(services: Services, client: Any, request_of) -> None:
    told: list[str] = []
    summary = submit(request_of(), on_progress=told.append)
    assert told[0].startswith("largest_number-tiny-n9") or told[0].startswith("largest-number-")
    assert any("test: 6/6" in line for line in told)
    assert summary == load_summary(find_run(services.home, summary.run_id))
    assert summary.tracking is not None
    assert summary.tracking.mlflow_uri == services.state.mlflow

    flow_run_id = summary.tracking.prefect_flow_run_id
    from thickets.flows.deployments.client import artifacts_of

    kept = {each.key: each for each in artifacts_of(client, client.read_flow_run(flow_run_id))}
    assert {"summary", "result-table", "result", "mlflow", "report", "scoring-selection"} <= kept.keys()
    page = f"{services.state.view}/runs/{summary.run_id}"
    assert page in kept["answers"].data
    assert page in mlflow_client(services.state.mlflow).get_run(summary.tracking.mlflow_run_id).data.tags[NOTE]
    assert summary.run_id in httpx.get(page, auth=(CREDENTIALS.user, CREDENTIALS.password), timeout=PATIENCE_S).text
    assert f"{services.state.mlflow}/#/experiments/" in kept["mlflow"].data
    assert set(mlflow_status(services, flow_run_id)) == {"FINISHED"}
    logged = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[flow_run_id]))
    wait_for(lambda: any("units to score" in line.message for line in client.read_logs(log_filter=logged)))

    worker_log = (services.home.root / "services" / "worker.log").read_text(encoding="utf-8")
    assert f"run {summary.run_id} in " in worker_log  # what its page has, where somebody looks first
    assert "Traceback" not in worker_log

    def events() -> set[str]:
        body = {"filter": {"occurred": {"since": "2020-01-01T00:00:00Z"}}, "limit": 50}
        body["filter"]["event"] = {"prefix": ["thickets.", "prefect.asset."]}
        response = client._client.post("/events/filter", json=body)
        return {event["event"] for event in response.json()["events"]}

    wanted = {"thickets.search.finished", "prefect.asset.materialization.succeeded"}
    assert wait_for(lambda: wanted <= events())


def test_a_cancelled_run_is_gone_and_keeps_its_shards(services, client, request_of) -> None:
    from prefect.states import Cancelling

    before = n_shards(services.home)
    run = start(request_of(population={"size": 2000, "sigmas": [0.1]}))
    wait_for(lambda: n_shards(services.home) >= before + 3)
    process = engine_of(client, run.id)
    client.set_flow_run_state(run.id, Cancelling())
    wait_for(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE)
    wait_for(lambda: client.read_flow_run(run.id).state_name == "Cancelled")
    assert n_shards(services.home) >= before + 3
    assert set(mlflow_status(services, run.id)) == {"KILLED"}
    held = client.read_global_concurrency_limit_by_name(f"accelerator:{os.uname().nodename}:cpu").active_slots
    assert held == 0


def test_a_killed_run_is_completed_by_a_retry_with_the_same_result(
    services, client, request_of, tmp_path: Path
) -> None:
    before = n_shards(services.home)
    config = request_of(name="killed", population={"size": 90, "sigmas": [0.1]})
    run = start(config)
    wait_for(lambda: n_shards(services.home) >= before + 5)
    os.kill(engine_of(client, run.id).pid, signal.SIGKILL)
    wait_for(lambda: client.read_flow_run(run.id).state_name == "Crashed")
    wait_for(lambda: set(mlflow_status(services, run.id)) == {"KILLED"})
    assert services.prefect("flow-run", "retry", str(run.id)).returncode == 0
    wait_for(lambda: client.read_flow_run(run.id).state_name == "Completed")
    mine = load_summary(find_run(services.home, "killed"))
    storage = {"home": str(tmp_path / "undisturbed")}
    undisturbed = search(parse_config(config.model_dump(mode="json", exclude_unset=True) | {"storage": storage}))
    assert mine.evaluation == undisturbed.evaluation
    assert mine.run_id == undisturbed.run_id


def test_a_run_outlives_a_minute_without_the_prefect_server(services, client, request_of, tmp_path: Path) -> None:
    before = n_shards(services.home)
    config = request_of(name="outage", population={"size": 60, "sigmas": [0.15]})
    run = start(config)
    wait_for(lambda: n_shards(services.home) >= before + 5)
    supervisor = psutil.Process(services.state.supervisor.pid)
    server = next(row.process for row in services.state.services if row.name == "prefect")
    supervisor.suspend()  # else it would start another at once
    try:
        stop_session(server.pid, grace_s=0)
        time.sleep(60)
    finally:
        supervisor.resume()

    def state() -> str | None:
        with contextlib.suppress(httpx.HTTPError):
            return client.read_flow_run(run.id).state_name
        return None

    wait_for(lambda: state() not in (None, "Running"))
    assert state() == "Completed", log_of(client, run.id)
    mine = load_summary(find_run(services.home, "outage"))
    storage = {"home": str(tmp_path / "undisturbed")}
    undisturbed = search(parse_config(config.model_dump(mode="json", exclude_unset=True) | {"storage": storage}))
    assert mine.evaluation == undisturbed.evaluation


def test_the_files_for_prefects_own_commands_do_what_they_say(services, client, tmp_path: Path) -> None:
    deployed = services.prefect("deploy", "--all", "--prefect-file", str(ROOT / "deployments" / "prefect.yaml"))
    assert deployed.returncode == 0, deployed.stdout + deployed.stderr
    distillation = client.read_deployment_by_name("distill-run/distillation")
    automation = tmp_path / "distil-on-gain.yaml"
    template = (ROOT / "deployments" / "automations" / automation.name).read_text()
    automation.write_text(template.replace("DISTILLATION_DEPLOYMENT_ID", str(distillation.id)))
    assert services.prefect("automation", "create", "--from-file", str(automation)).returncode == 0

    def started_for() -> list[str]:
        runs = client.read_flow_runs()
        return [run.parameters["run"] for run in runs if run.deployment_id == distillation.id]

    for run_id, gain in (("without", "no"), ("with", "yes")):
        resource = {"prefect.resource.id": f"thickets.run.{run_id}", "thickets.gain": gain}
        payload = json.dumps({"run_id": run_id})
        told = ("event", "emit", FINISHED_EVENT, "--resource", json.dumps(resource), "--payload", payload)
        assert services.prefect(*told).returncode == 0
    assert wait_for(started_for) == ["with"]


def test_what_nobody_carries_out_any_more_is_repaired(services, client, request_of, tmp_path: Path) -> None:
    path = tmp_path / "lost.yaml"
    config = request_of(name="lost", population={"size": 2000, "sigmas": [0.2]})
    path.write_text(
        dump_config(
            config.model_copy(update={"storage": config.storage.model_copy(update={"home": services.home.root})})
        )
    )
    before = n_shards(services.home)
    command = [sys.executable, "-m", "thickets", "run", str(path)]
    process = subprocess.Popen(command, env=services.environment, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: n_shards(services.home) >= before + 2)
    process.kill()
    _, told = process.communicate()
    assert "using the services of" in told
    found = json.loads(services.call("status", "--json").stdout)
    [lost] = [run for run in found["flow_runs"] if run["is_dead"]]
    assert lost["state"] == "Running"
    repaired = json.loads(services.call("status", "--repair", "--json").stdout)["repaired"]
    assert [each["flow_run_id"] for each in repaired] == [lost["flow_run_id"]]
    assert client.read_flow_run(lost["flow_run_id"]).state_name == "Crashed"
    assert set(mlflow_status(services, lost["flow_run_id"])) == {"KILLED"}
    assert json.loads(services.call("status", "--repair", "--json").stdout)["repaired"] == []


def test_a_service_that_dies_is_started_again_and_all_is_still_there(services: Services, client: Any) -> None:
    def process_of(name: str) -> Any:
        return next((row.process for row in services.state.services if row.name == name), None)

    n_runs = len(list_runs(services.home))
    before = process_of("prefect")
    os.kill(before.pid, signal.SIGKILL)
    wait_for(lambda: (now := process_of("prefect")) is not None and now != before)
    health = urllib.request.Request(f"{services.state.prefect_api}/health")
    health.add_header("Authorization", "Basic " + base64.b64encode(CREDENTIALS.pair.encode()).decode())

    def is_healthy() -> bool:
        with contextlib.suppress(OSError):
            return bool(urllib.request.urlopen(health, timeout=5).status == 200)
        return False

    wait_for(is_healthy)
    assert len(list_runs(services.home)) == n_runs > 0
    assert client.read_flow_runs(), "the flow runs are in the database"


def test_no_secret_is_written_anywhere(services: Services) -> None:
    files = [path for path in services.home.root.rglob("*") if path.is_file()]
    assert len(files) > 50
    for path in files:
        try:
            content = path.read_bytes()
        except FileNotFoundError:  # the services are at work: a lease has ended meanwhile
            continue
        assert CREDENTIALS.password.encode() not in content, path
        assert OTHER_SECRET.encode() not in content, path


def test_services_that_nobody_looks_after_are_ended_all_the_same(services: Services) -> None:
    """The last test: nothing is up afterwards."""
    pids = [row.process.pid for row in services.state.services]
    os.kill(services.state.supervisor.pid, signal.SIGKILL)
    wait_for(lambda: "nobody looks after the services" in services.call("status").stdout)
    assert services.call("down").returncode == 0
    assert [pid for pid in pids if psutil.pid_exists(pid)] == []
    assert read_state(services.home.root) is None
