# ruff: noqa: INP001  a script: this folder is no package, and not in the wheel
"""Checks the deployment files without a container engine or the cloud: `deploy/validate.py`, part of `make check`.

One line for each file; then one sentence for each finding, and exit code 1. Cloud Run's manifests are held against the
API's own description, which comes with google-api-python-client; compose's and Cloud Build's files against the schemas
that come with check-jsonschema; hadolint reads the Dockerfile. nginx reads its own file where it is installed.
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

ROOT = Path(__file__).resolve().parent.parent
TOOLS = Path(sys.executable).parent
TOOL_SECONDS_MAX = 60

CLOUD_RUN_KINDS = {
    "Service": "serving.knative.dev/v1",
    "WorkerPool": "run.googleapis.com/v1",
    "Job": "run.googleapis.com/v1",
}
NGINX_RESOLVES_SINCE = (1, 27, 3)
"""From here on an upstream's server may have `resolve`."""
NGINX_TOKEN = re.compile(r"""\s+|\#[^\n]*|(?P<token>[{};]|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|(?:\$\{|[^\s{};"'])+)""")
NGINX_COMPLAINT = re.compile(r"\[(?:warn|emerg)\] (?:[\d#]+: )?(.+)")

Findings = list[str]


def main() -> int:
    """Check everything under ROOT; return the process's exit code."""
    clean = True
    for path, check in _checks(ROOT):
        findings = check(path) if path.exists() else ["The file is missing."]
        name = path.relative_to(ROOT)
        print(f"{name}: {'wrong' if findings else 'ok'}", flush=True)  # noqa: T201
        for finding in findings:
            print(f"{name}: {finding}", file=sys.stderr)  # noqa: T201
        clean = clean and not findings
    return 0 if clean else 1


def _checks(root: Path) -> Iterator[tuple[Path, Callable[[Path], Findings]]]:
    yield root / "deploy" / "Dockerfile", check_dockerfile
    yield root / "docker-compose.yml", lambda path: check_builtin("vendor.compose-spec", path)
    yield root / "cloudbuild.yaml", lambda path: check_builtin("vendor.cloudbuild", path)
    for manifest in sorted((root / "deploy" / "cloudrun").glob("*.yaml")):
        yield manifest, check_cloud_run
    yield root / "deploy" / "nginx.conf", check_nginx


def check_dockerfile(path: Path) -> Findings:
    """Return what hadolint finds, warnings included."""
    findings = json.loads(_run(TOOLS / "hadolint", "--format", "json", path).stdout)
    return [f"Line {finding['line']}: {finding['message']} ({finding['code']})" for finding in findings]


def check_builtin(schema: str, path: Path) -> Findings:
    """Return what a schema of check-jsonschema does not allow."""
    command = (TOOLS / "check-jsonschema", "--output-format", "json", "--builtin-schema", schema, path)
    report = json.loads(_run(*command).stdout)
    wrong = [f"At {error['path']}: {error['message']}." for error in report.get("errors", ())]
    return wrong + [f"It is not YAML: {' '.join(error['message'].split())}" for error in report.get("parse_errors", ())]


def check_cloud_run(path: Path) -> Findings:
    """Return the fields of one manifest that Cloud Run does not know, or that have the wrong type."""
    try:
        manifest = YAML(typ="safe", pure=True).load(path)
    except YAMLError as error:
        return [f"It is not YAML: {' '.join(str(error).split())}"]
    kind = manifest.get("kind") if isinstance(manifest, dict) else None
    if kind not in CLOUD_RUN_KINDS:
        return [f"Its kind must be one of {', '.join(CLOUD_RUN_KINDS)}, not {kind}."]
    schemas = json.loads(
        files("googleapiclient").joinpath("discovery_cache", "documents", "run.v1.json").read_text("utf-8")
    )["schemas"]
    validator = jsonschema.Draft202012Validator(cloud_run_schema(schemas, kind))
    errors = [f"At {error.json_path}: {error.message}." for error in validator.iter_errors(manifest)]
    return errors + _unknown_annotations(manifest, known_annotations(schemas))


def cloud_run_schema(schemas: dict[str, Any], kind: str) -> dict[str, Any]:
    """Turn an API description (Google's discovery format) into a JSON schema for `kind` that refuses unknown fields."""
    definitions = {name: _schema(schema) for name, schema in schemas.items()}
    return {
        "$defs": definitions,
        "allOf": [{"$ref": f"#/$defs/{kind}"}],
        "required": ["apiVersion", "kind", "metadata", "spec"],
        "properties": {"apiVersion": {"const": CLOUD_RUN_KINDS[kind]}},
    }


def known_annotations(schemas: dict[str, Any]) -> frozenset[str]:
    """Return the names that the API's description of `annotations` lists: to the schema any name would do."""
    text = schemas["ObjectMeta"]["properties"]["annotations"]["description"]
    return frozenset(re.findall(r"`([a-z.]+/[A-Za-z-]+)`", text))


def _schema(description: dict[str, Any]) -> dict[str, Any]:
    if "$ref" in description:
        return {"$ref": f"#/$defs/{description['$ref']}"}
    match description.get("type"):
        case "object" if "properties" in description:
            properties = {name: _schema(child) for name, child in description["properties"].items()}
            return {"type": "object", "properties": properties, "additionalProperties": False}
        case "object":
            return {"type": "object", "additionalProperties": _schema(description.get("additionalProperties", {}))}
        case "array":
            return {"type": "array", "items": _schema(description["items"])}
        case None | "any":
            return {}
        case plain:
            return {"type": plain} | ({"enum": description["enum"]} if "enum" in description else {})


def _unknown_annotations(node: object, known: frozenset[str], where: str = "$") -> Findings:
    if not isinstance(node, dict):
        return []
    findings = []
    for key, value in node.items():
        if key == "annotations" and isinstance(value, dict):
            findings += [f"At {where}.annotations: Cloud Run knows no {name}." for name in value if name not in known]
        findings += _unknown_annotations(value, known, f"{where}.{key}")
    return findings


def check_nginx(path: Path) -> Findings:
    """Return what nginx finds if it is installed, else whether the braces and semicolons of the file fit."""
    text = path.read_text("utf-8")
    findings = list(_nginx_structure(text))
    nginx = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
    if findings or nginx is None:
        return findings
    with tempfile.TemporaryDirectory() as directory:
        tried = Path(directory) / "nginx.conf"
        tried.write_text(_for_this_machine(text, nginx, directory), "utf-8")
        # -t also opens the listening sockets; a port in use is no error to it.
        result = _run(nginx, "-t", "-q", "-c", tried)
        complaints = NGINX_COMPLAINT.findall(result.stderr.replace(f" in {tried}:", " in line "))
        return complaints or ([f"nginx refuses it: {result.stderr.strip()}"] if result.returncode else [])


def _for_this_machine(text: str, nginx: str, directory: str) -> str:
    """Return the file with temporary paths, and without what this nginx is too old for."""
    text = text.replace("/tmp/", f"{directory}/")  # noqa: S108
    version = tuple(int(number) for number in re.findall(r"\d+", _run(nginx, "-v").stderr)[:3])
    if version < NGINX_RESOLVES_SINCE:
        # Without `resolve` the names are looked up now, and nobody here answers to them.
        text = re.sub(r"server [\w-]+:(\d+)(.*?) resolve;", r"server 127.0.0.1:\1\2;", text)
    return text


def _nginx_structure(text: str) -> Iterable[str]:
    """Yield what keeps `text` from being directives that end with `;` and blocks in braces."""
    depth = place = 0
    open_words: list[str] = []
    while place < len(text):
        match = NGINX_TOKEN.match(text, place)
        line = text.count("\n", 0, place) + 1
        if match is None:
            yield f"Line {line}: nobody can read this from {text[place]!r} on."
            return
        place = match.end()
        word = match["token"]
        if word is None:
            continue
        if word not in ("{", "}", ";"):
            open_words.append(word)
            continue
        depth += {"{": 1, "}": -1, ";": 0}[word]
        if word == "}" and open_words:
            yield f"Line {line}: the directive {open_words[0]} does not end with a semicolon."
        elif word != "}" and not open_words:
            yield f"Line {line}: nothing stands before this {word}"
        elif depth < 0:
            yield f"Line {line}: this brace closes nothing."
        open_words = []
    if open_words or depth > 0:
        yield "The end is missing: a brace or a semicolon."


def _run(*command: object) -> subprocess.CompletedProcess[str]:
    """Run a checker, whatever it thinks of the file."""
    words = [str(word) for word in command]
    try:
        return subprocess.run(  # noqa: S603  our own tools on our own files
            words, capture_output=True, text=True, timeout=TOOL_SECONDS_MAX, check=False
        )
    except FileNotFoundError:
        sys.exit(f"{Path(words[0]).name} is not installed: `make check` installs it.")


if __name__ == "__main__":
    sys.exit(main())
