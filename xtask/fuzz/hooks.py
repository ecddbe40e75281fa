"""What the generator of requests cannot know: media that this server can really read.

A schema can say that a field holds a URL, not that something is there. For requests that are meant to be accepted, each
media field (marked `x-media`) gets a file of the right kind that the server made itself. Requests that are meant to be
refused are left as they are.
"""

import itertools
import json
import os
import re
import urllib.error
import urllib.parse
import urllib.request

import schemathesis
from hypothesis import strategies as st
from schemathesis.generation import GenerationMode
from schemathesis.transport.serialization import Binary

BASE = os.environ["VYDRA_FUZZ_URL"] + "/api/v1"
KEY = os.environ["VYDRA_FUZZ_KEY"]


def _answer(path, body=None):
    request = urllib.request.Request(
        BASE + path,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=90) as answer:
        return json.load(answer)


def _cancel(job):
    request = urllib.request.Request(
        BASE + "/jobs/" + urllib.parse.quote(job, safe=""),
        method="DELETE",
        headers={"Authorization": f"Bearer {KEY}"},
    )
    try:
        urllib.request.urlopen(request, timeout=30).close()
    except urllib.error.HTTPError as refused:
        # It has ended, or there is none.
        refused.close()


def _made(path, body, field):
    job = _answer(f"/models/{path}", body)["jobId"]
    return _answer(f"/jobs/{job}?wait=60")[field]


MEDIA = {
    "image": _made("gemini/generate", {"prompt": "a lake"}, "imageUrl"),
    "video": _made("veo3", {"prompt": "a lake", "duration": 1}, "videoUrl"),
    "audio": _made("elevenlabs/tts", {"text": "Hello."}, "audioUrl"),
}


with urllib.request.urlopen(MEDIA["image"], timeout=30) as found:
    schemathesis.openapi.format("binary", st.just(Binary(found.read())))


def _resolve(schema, root):
    while isinstance(schema, dict) and "$ref" in schema:
        found = root
        for part in schema["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        schema = found
    return schema if isinstance(schema, dict) else {}


def _with_media(schema, value, root):
    schema = _resolve(schema, root)
    kind = schema.get("x-media")
    if kind and isinstance(value, str):
        return MEDIA[kind]
    if kind and isinstance(value, list):
        return [MEDIA[kind] for _ in value]
    # The examples' own URLs also come under the other spelling of a field, which no schema names.
    if isinstance(value, str) and value.startswith("https://example.com/"):
        kind = {"png": "image", "mp4": "video", "wav": "audio"}.get(value.rpartition(".")[2])
        return MEDIA.get(kind, value)
    if isinstance(value, dict):
        for choice in schema.get("oneOf", []):
            constants = _resolve(choice, root).get("properties", {})
            if all(
                value.get(name) == rule["const"]
                for name, rule in constants.items()
                if isinstance(rule, dict) and "const" in rule
            ):
                value = _with_media(choice, value, root)
        known = schema.get("properties", {})
        return {
            name: _with_media(known.get(name, {}), inner, root)
            for name, inner in value.items()
        }
    return value


# Nobody listens there.
RECEIVER = "http://127.0.0.1:9/hook"
ENDPOINT = _answer("/webhooks/endpoints", {"url": RECEIVER})["id"]
DELIVERY = _answer("/webhooks/test", {"endpointId": ENDPOINT})["data"][0]["id"]
# What other requests name as their media.
KEPT = {asset["id"] for asset in _answer("/assets")["data"] if asset["url"] in MEDIA.values()}


def _call(method, path, body=None):
    request = urllib.request.Request(
        BASE + path,
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def _room_for_an_endpoint():
    """There can be so many of them, and one is always there and switched on."""
    for endpoint in _answer("/webhooks/endpoints")["data"]:
        if endpoint["id"] != ENDPOINT:
            _call("DELETE", "/webhooks/endpoints/" + endpoint["id"])
    _call("PATCH", "/webhooks/endpoints/" + ENDPOINT, {"enabled": True})


COUNTER = itertools.count()
ROTATIONS = itertools.count()
NO_KEY = "key_00000000000000000000000000"
KEYS = {key["name"]: key["id"] for key in _answer("/api-keys")["data"]}


@schemathesis.hook
def before_call(context, case, **kwargs):
    # Whoever ends the key that it calls with learns nothing more.
    operation_id = name = case.operation.definition.raw.get("operationId")
    if name in ("revoke_key", "rotate_key") and case.path_parameters.get("id") == KEYS["fuzz"]:
        case.path_parameters["id"] = KEYS["spare"]
    if name == "delete_webhook_endpoint" and case.path_parameters.get("id") == ENDPOINT:
        case.path_parameters["id"] = "whe_00000000000000000000000000"
    if name == "delete_asset" and case.path_parameters.get("id") in KEPT:
        case.path_parameters["id"] = "ast_00000000000000000000000000"
    # Those to an endpoint that is gone cannot be sent again.
    if name == "resend_webhook_delivery":
        _room_for_an_endpoint()
        if str(case.path_parameters.get("id")).startswith("dlv_"):
            case.path_parameters["id"] = DELIVERY
    # The stream of a job that waits would last as long as the job.
    if name == "job_events":
        _cancel(str(case.path_parameters.get("id")))
    # Otherwise the answer would be that of an earlier request.
    key = (case.headers or {}).get("Idempotency-Key", "")
    if isinstance(key, str) and re.fullmatch("[!-~]{1,200}", key):
        case.headers["Idempotency-Key"] = f"{key}{next(COUNTER)}"
    # Following links, the generator carries the path of a model to where there is none.
    if name == "call_unknown_model":
        case.path_parameters["slug"] = "no-such-model"
    # A case made by hand, such as a link that is followed, says nothing of how it was generated.
    if case.meta is None or case.meta.generation.mode != GenerationMode.POSITIVE:
        return
    # A key is replaced once, and with an overlap it lives on.
    if name == "rotate_key":
        case.path_parameters["id"] = KEYS["fuzz"] if next(ROTATIONS) == 0 else NO_KEY
        case.body = {"overlapHours": 168}
        return
    if any(part.mode != GenerationMode.POSITIVE for part in case.meta.components.values()):
        return
    # Both ask to be refused.
    for name in ("X-Vydra-Simulate", "X-Max-Credits"):
        if case.headers:
            case.headers.pop(name, None)
    # A cursor comes from a list, and a span must not end before it begins.
    for parameter in ("after", "from", "to"):
        if case.query:
            case.query.pop(parameter, None)
    # There is no time to wait for what nobody needs.
    if case.query and "wait" in case.query:
        case.query["wait"] = 1
    if operation_id == "create_webhook_endpoint":
        _room_for_an_endpoint()
    # The file is an image. Another one in its place would count as a case that breaks the schema.
    if operation_id == "upload" and case.query:
        case.query["type"] = "image"
    if operation_id == "test_webhooks":
        _room_for_an_endpoint()
        case.body = {"endpointId": ENDPOINT}
    if not isinstance(case.body, dict):
        return
    takes_a_receiver = operation_id in ("create_webhook_endpoint", "update_webhook_endpoint")
    if takes_a_receiver and isinstance(case.body.get("url"), str):
        case.body["url"] = RECEIVER
    for spelling in ("webhookUrl", "webhook_url"):
        if spelling in case.body:
            case.body[spelling] = RECEIVER
    for spelling in ("maxCredits", "max_credits"):
        case.body.pop(spelling, None)
    operation = case.operation.definition.raw
    content = operation.get("requestBody", {}).get("content", {}).get("application/json")
    if content:
        case.body = _with_media(content["schema"], case.body, case.operation.schema.raw_schema)
