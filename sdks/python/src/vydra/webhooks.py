"""Webhooks: whether one is ours, and what it says."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import time
from collections.abc import Iterable, Mapping
from typing import Any, TypedDict, Union

from .errors import WebhookVerificationError

__all__ = ["WebhookEvent", "verify"]

_TOLERANCE = 300.0


class WebhookEvent(TypedDict):
    """An event. Answer 200 to a type that you do not know."""

    type: str
    """job.completed, job.failed, job.cancelled, webhook.endpoint_disabled or webhook.test."""
    timestamp: str
    data: dict[str, Any]
    """Of `job.*`, the job as `jobs.get` gives it."""


def _key(secret: str) -> bytes:
    try:
        key = base64.b64decode(secret[6:] if secret.startswith("whsec_") else secret, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not key:
        # Without its cause, which shows nothing of use and may show the secret.
        raise WebhookVerificationError("the webhook secret is not whsec_ and base64") from None
    return key


def verify(
    body: Union[bytes, str],
    headers: Mapping[str, str],
    secret: Union[str, Iterable[str]],
    *,
    now: Union[float, None] = None,
) -> WebhookEvent:
    """The event of a webhook; raises `WebhookVerificationError` unless it is ours and not older than five minutes.

    `body` is the raw body as it came, `secret` the `whsec_…` of the organization, or several during a rotation.
    The same event can come twice: remember its `webhook-id`.
    """
    raw = body.encode() if isinstance(body, str) else bytes(body)
    named = {name.lower(): value for name, value in headers.items()}
    try:
        identifier, stamp, signatures = (named[f"webhook-{name}"] for name in ("id", "timestamp", "signature"))
    except KeyError as missing:
        raise WebhookVerificationError(f"the header {missing.args[0]} is missing") from None
    if not (stamp.isascii() and stamp.isdigit() and len(stamp) < 16):
        raise WebhookVerificationError("webhook-timestamp is no number")
    if abs((time.time() if now is None else now) - int(stamp)) > _TOLERANCE:
        raise WebhookVerificationError("the webhook is too old, or from the future")
    signed = f"{identifier}.{stamp}.".encode() + raw
    given = [part[3:].encode() for part in signatures.split(" ") if part.startswith("v1,")]
    good = False
    for key in map(_key, [secret] if isinstance(secret, str) else secret):
        expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest())
        # Every one is compared, so that the time tells nothing.
        for signature in given:
            good |= hmac.compare_digest(expected, signature)
    if not good:
        raise WebhookVerificationError("no signature fits")
    try:
        event: WebhookEvent = json.loads(raw)
    except ValueError as error:
        raise WebhookVerificationError("the body is not JSON") from error
    return event
