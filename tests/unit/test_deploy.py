"""The deployment files keep their promises, and `deploy/validate.py` notices mistakes in them."""

import dataclasses
import importlib
import importlib.util
import re
import subprocess
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from ruamel.yaml import YAML

from boardlog.settings import ServiceSettings
from relay.forward import FORWARD_SECONDS_MAX

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
SERVICES = ("relay", "bridge", "worker")
VALUES = {
    "IMAGE": "europe-west1-docker.pkg.dev/p/boards/board-relay@sha256:0123",
    "PROJECT_ID": "a-project",
    "PROJECT_NUMBER": "42",
    "REGION": "europe-west1",
    "NETWORK": "net",
    "SUBNET": "sub&net",
}


def load(*path: str) -> Any:
    return YAML(typ="safe").load(ROOT.joinpath(*path))


@pytest.fixture(scope="module")
def validate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("deploy_validate", DEPLOY / "validate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def manifest() -> dict[str, dict[str, Any]]:
    return {name: load("deploy", "cloudrun", f"{name}.yaml") for name in (*SERVICES, "migrate")}


@pytest.fixture
def compose() -> dict[str, Any]:
    described: dict[str, Any] = load("docker-compose.yml")
    return described


def container(manifest: dict[str, Any]) -> dict[str, Any]:
    first: dict[str, Any] = manifest["spec"]["template"]["spec"]["containers"][0]
    return first


# --- validate.py notices


@pytest.mark.parametrize(
    ("right", "wrong", "finding"),
    [
        (
            "containerConcurrency",
            "containerConcurency",
            r"\$\.spec\.template\.spec.*'containerConcurency' was unexpected",
        ),
        ("timeoutSeconds: 3600", 'timeoutSeconds: "3600"', r"spec\.timeoutSeconds: '3600' is not of type 'integer'"),
        ('minScale: "1"', "minScale: 1", r"minScale'\]: 1 is not of type 'string'"),
        ("sessionAffinity", "sessionAfinity", r"Cloud Run knows no run\.googleapis\.com/sessionAfinity"),
        ("serving.knative.dev/v1", "serving.knative.dev/v2", r"'serving\.knative\.dev/v1' was expected"),
        ("kind: Service", "kind: Servce", r"kind must be one of Service, WorkerPool, Job, not Servce"),
        ("metadata:\n", "metadat:\n", r"'metadat' was unexpected"),
        ("      timeoutSeconds: 3600", "      containerConcurrency: 3600", r"not YAML: .*duplicate key"),
    ],
)
def test_a_mistake_in_a_manifest_is_found(
    validate: ModuleType, tmp_path: Path, right: str, wrong: str, finding: str
) -> None:
    text = (DEPLOY / "cloudrun" / "relay.yaml").read_text("utf-8")
    assert right in text
    path = tmp_path / "relay.yaml"
    path.write_text(text, "utf-8")
    assert validate.check_cloud_run(path) == []
    path.write_text(text.replace(right, wrong, 1), "utf-8")
    assert any(re.search(finding, line) for line in validate.check_cloud_run(path))


@pytest.mark.parametrize(
    ("right", "wrong", "finding"),
    [
        ("keepalive 16;\n", "keepalive 16\n", "keepalive does not end with a semicolon"),
        ("http {", "http", "this brace closes nothing"),
        ("keepalive 16;\n    }", "keepalive 16;\n", "The end is missing"),
        ("return 404;", "return '404;", "nobody can read this"),
        ("    map $", "    {} map $", "nothing stands before this {"),
    ],
)
def test_a_broken_nginx_file_is_found_without_nginx(validate: ModuleType, right: str, wrong: str, finding: str) -> None:
    text = (DEPLOY / "nginx.conf").read_text("utf-8")
    assert right in text
    assert list(validate._nginx_structure(text)) == []
    assert any(finding in line for line in validate._nginx_structure(text.replace(right, wrong, 1)))


# --- Cloud Run


def test_the_relay_is_deployed_as_the_phase_document_asks_but_without_affinity(
    manifest: dict[str, dict[str, Any]],
) -> None:
    relay = manifest["relay"]
    template = relay["spec"]["template"]
    annotations = template["metadata"]["annotations"]
    assert relay["metadata"]["name"] == "dockerclaw-ws"
    assert annotations["autoscaling.knative.dev/minScale"] == "1"
    assert annotations["run.googleapis.com/cpu-throttling"] == "false"
    assert template["spec"]["timeoutSeconds"] == 3600
    assert template["spec"]["containerConcurrency"] == 1000
    for service in ("relay", "bridge"):
        template = manifest[service]["spec"]["template"]
        assert template["metadata"]["annotations"]["run.googleapis.com/sessionAffinity"] == "false"


@pytest.mark.parametrize("service", SERVICES)
def test_G5_no_store_that_is_away_restarts_a_service(manifest: dict[str, dict[str, Any]], service: str) -> None:
    assert container(manifest[service])["livenessProbe"]["httpGet"]["path"] == "/health"
    assert container(manifest[service])["startupProbe"]["httpGet"]["path"] == "/ready"


def test_every_deployment_has_an_account_of_its_own_and_takes_its_secrets_from_the_manager(
    manifest: dict[str, dict[str, Any]],
) -> None:
    migrate = manifest["migrate"]["spec"]["template"]["spec"]["template"]["spec"]
    accounts = {name: manifest[name]["spec"]["template"]["spec"]["serviceAccountName"] for name in SERVICES}
    assert len({*accounts.values(), migrate["serviceAccountName"]}) == 4
    for name in SERVICES:
        secret = [env for env in container(manifest[name])["env"] if "valueFrom" in env]
        secrets = {env["name"]: env["valueFrom"]["secretKeyRef"]["name"] for env in secret}
        assert secrets == {"REDIS_URL": "board-redis-url", "DATABASE_URL": "board-database-url"}
    owner = next(env for env in migrate["containers"][0]["env"] if env["name"] == "DATABASE_URL")
    assert owner["valueFrom"]["secretKeyRef"]["name"] == "board-database-owner-url"


def render(directory: Path, values: dict[str, str]) -> subprocess.CompletedProcess[str]:
    script = DEPLOY / "cloudrun" / "render.sh"
    environment = {"PATH": "/usr/bin:/bin"} | values
    return subprocess.run(
        ["bash", str(script), str(directory)], env=environment, capture_output=True, text=True, check=False
    )


def test_rendering_fills_in_every_value(validate: ModuleType, tmp_path: Path) -> None:
    assert render(tmp_path, VALUES).returncode == 0
    rendered = sorted(tmp_path.glob("*.yaml"))
    assert [path.name for path in rendered] == sorted(path.name for path in (DEPLOY / "cloudrun").glob("*.yaml"))
    for path in rendered:
        assert validate.check_cloud_run(path) == []
        assert not re.search(r"\$\{[A-Z]", path.read_text("utf-8"))
        assert VALUES["IMAGE"] in path.read_text("utf-8")
    relay = YAML(typ="safe").load(tmp_path / "relay.yaml")
    interfaces = relay["spec"]["template"]["metadata"]["annotations"]["run.googleapis.com/network-interfaces"]
    assert interfaces == '[{"network":"net","subnetwork":"sub&net"}]'


@pytest.mark.parametrize("name", VALUES)
def test_rendering_refuses_a_missing_value(tmp_path: Path, name: str) -> None:
    result = render(tmp_path, VALUES | {name: ""})
    assert result.returncode == 1
    assert result.stderr == f"render.sh: set {name}.\n"
    assert list(tmp_path.iterdir()) == []


def test_cloud_build_gives_the_values_that_rendering_needs_and_deploys_each_manifest() -> None:
    build = load("cloudbuild.yaml")
    steps = {step["id"]: step for step in build["steps"]}
    given = {entry.partition("=")[0] for entry in steps["render"]["env"]}
    assert given | {"IMAGE"} == set(VALUES)
    commands = " ".join(" ".join(step["args"]) for step in build["steps"])
    for path in (DEPLOY / "cloudrun").glob("*.yaml"):
        assert f"/workspace/manifests/{path.name}" in commands
    order = list(steps)
    assert order.index("migrate") < min(order.index(service) for service in SERVICES)


# --- compose and nginx


def test_only_nginx_can_be_reached_and_only_from_this_machine(compose: dict[str, Any]) -> None:
    published = {name: service["ports"] for name, service in compose["services"].items() if "ports" in service}
    assert published == {"nginx": ["127.0.0.1:${HTTP_PORT:-8080}:8080"]}
    assert compose["networks"]["stores"]["internal"] is True
    assert compose["services"]["redis"]["networks"] == compose["services"]["postgres"]["networks"] == ["stores"]


def test_every_container_is_confined(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert "build" in service or service["user"] not in ("root", "0"), name


def test_no_password_is_baked_in(compose: dict[str, Any]) -> None:
    variables = set(re.findall(r"\$\{[^}]*PASSWORD[^}]*\}", (ROOT / "docker-compose.yml").read_text("utf-8")))
    assert variables
    assert all(":?" in variable for variable in variables)
    assert not re.search(r"^\w*PASSWORD=.+", (ROOT / ".env.example").read_text("utf-8"), re.MULTILINE)


def test_redis_keeps_what_it_was_given(compose: dict[str, Any]) -> None:
    options = " ".join(compose["services"]["redis"]["command"])
    assert "--appendonly yes --appendfsync everysec" in options
    assert "--maxmemory-policy noeviction" in options
    assert "--stream-node-max-bytes 1024" in options


def test_images_are_pinned_by_tag(compose: dict[str, Any]) -> None:
    images = {service["image"] for service in compose["services"].values()}
    images |= {step["name"] for step in load("cloudbuild.yaml")["steps"]} - {"gcr.io/cloud-builders/docker"}
    images |= set(re.findall(r"^FROM (\S+)", (DEPLOY / "Dockerfile").read_text("utf-8"), re.MULTILINE))
    for image in images:
        assert re.fullmatch(r".+:(?!latest$)[\w.-]+", image), image


def test_the_relays_are_asked_in_turn(compose: dict[str, Any]) -> None:
    text = (DEPLOY / "nginx.conf").read_text("utf-8")
    directives = re.sub(r"#[^\n]*", "", text)
    relays = re.search(r"upstream relays \{(.*?)\}", directives, re.DOTALL)
    assert relays is not None
    assert re.findall(r"server ([\w-]+):8080", relays[1]) == [name for name in compose["services"] if "relay" in name]
    assert not re.search(r"\b(ip_hash|hash|sticky|least_conn|random|backup|weight)\b", relays[1])


def location(path: str) -> str:
    """Return the directives of one of nginx's locations."""
    directives = re.sub(r"#[^\n]*", "", (DEPLOY / "nginx.conf").read_text("utf-8"))
    found = re.search(rf"location {re.escape(path)} \{{(.*?)\}}", directives, re.DOTALL)
    assert found is not None, path
    return found[1]


def test_pages_come_from_any_relay_and_their_files_from_whichever_has_them() -> None:
    assert "proxy_pass http://relays;" in location("/")
    assert "proxy_pass http://relays;" in location("/canvas/")
    assert re.search(r"proxy_next_upstream error timeout http_404;", location("/canvas/"))


def test_pictures_pass_nginx_so_that_the_bridge_can_judge_them() -> None:
    text = (DEPLOY / "nginx.conf").read_text("utf-8")
    allowed = re.search(r"client_max_body_size (\d+)m;", text)
    assert allowed is not None
    assert int(allowed[1]) > 10
    assert "proxy_request_buffering off;" in location("/v1/")
    assert "proxy_pass http://bridge;" in location("/v1/")


def test_the_bridge_waits_for_a_slow_picture_as_long_as_a_relay_does(manifest: dict[str, dict[str, Any]]) -> None:
    assert manifest["bridge"]["spec"]["template"]["spec"]["timeoutSeconds"] >= FORWARD_SECONDS_MAX
    assert "BRIDGE_URL" in {env["name"] for env in container(manifest["relay"])["env"]}


def test_no_key_reaches_nginx_log() -> None:
    text = (DEPLOY / "nginx.conf").read_text("utf-8")
    log_format = re.search(r"log_format main '([^']*)'", text)
    assert log_format is not None
    assert not re.search(r"\$(request|request_uri|args|query_string|arg_\w+|http_\w+)\b", log_format[1])
    assert re.search(r"^error_log stderr crit;$", text, re.MULTILINE)


# --- the image, and what it is told


def test_the_image_has_every_package_and_every_command_names_one(
    compose: dict[str, Any], manifest: dict[str, dict[str, Any]]
) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    copied = re.findall(r"^COPY (\w+) \1$", (DEPLOY / "Dockerfile").read_text("utf-8"), re.MULTILINE)
    allowed = re.findall(r"^!(\w+)$", (ROOT / ".dockerignore").read_text("utf-8"), re.MULTILINE)
    assert sorted(copied) == sorted(packages)
    assert set(packages) <= set(allowed)
    commands = [container(manifest[name])["command"] for name in SERVICES]
    commands += [service["command"] for service in compose["services"].values() if "build" in service]
    modules = {command[2] for command in commands if command[:2] == ["python", "-m"]}
    assert modules == {"relay", "bridge", "persistence_worker"} <= set(packages)


def test_the_image_builds_the_canvas_from_the_lock_and_puts_it_into_the_wheel() -> None:
    text = (DEPLOY / "Dockerfile").read_text("utf-8")
    ignored = (ROOT / ".dockerignore").read_text("utf-8").split("\n")
    assert {"!frontend", "!hatch_build.py", "**/node_modules", "relay/canvas"} <= set(ignored)
    canvas, build, _ = text.split("\nFROM ")[-3:]
    assert canvas.index("package-lock.json") < canvas.index("npm ci --ignore-scripts") < canvas.index("npm run build")
    order = [
        "hatch_build.py",
        "COPY relay relay",
        "COPY --from=canvas /build/relay/canvas relay/canvas",
        "hatchling build",
    ]
    places = [build.index(step) for step in order]
    assert places == sorted(places)


def test_the_image_has_compiled_modules_and_no_compiler() -> None:
    canvas, build, image = (DEPLOY / "Dockerfile").read_text("utf-8").split("\nFROM ")[-3:]
    assert " gcc " in build
    assert "gcc" not in canvas + image
    version = re.match(r"python:(\d+)\.(\d+)-", build)
    assert version is not None
    assert f"dist/*-cp{version[1]}{version[2]}-*.whl" in build, "it would take a plain one"


def test_the_wheel_is_built_with_the_locked_versions() -> None:
    def pins(path: Path) -> dict[str, str]:
        return dict(re.findall(r"^([\w.-]+)==(\S+)", path.read_text("utf-8"), re.MULTILINE))

    build, locked = pins(DEPLOY / "requirements-build.lock"), pins(ROOT / "requirements-dev.lock")
    assert "hatchling" in build
    assert build == {name: locked.get(name) for name in build}


def test_every_variable_is_in_the_example() -> None:
    example = set(re.findall(r"^#?([A-Z][A-Z_]+)=", (ROOT / ".env.example").read_text("utf-8"), re.MULTILINE))
    known = set(re.findall(r"\$\{([A-Z_]+)", (ROOT / "docker-compose.yml").read_text("utf-8")))
    for path in ROOT.glob("*/settings.py"):
        importlib.import_module(f"{path.parent.name}.settings")
    services: list[type[ServiceSettings]] = [ServiceSettings]
    # Not those that a test may have made.
    services += [each for each in ServiceSettings.__subclasses__() if each.__module__.endswith(".settings")]
    known |= {field.name.upper() for settings in services for field in dataclasses.fields(settings)}
    assert example == known
