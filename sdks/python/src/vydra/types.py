"""What the server sends and takes, as `openapi.json` describes it."""

# Written by scripts/generate.py; do not change it here.

# ruff: noqa: UP006, UP035

from typing import Any, Dict, List, Optional, TypedDict

__all__ = [
    "Accepted",
    "Asset",
    "AssetList",
    "AssetMetadata",
    "Charges",
    "Completed",
    "CreatedJob",
    "Credits",
    "DeletedAsset",
    "DeletedEndpoint",
    "Delivery",
    "DeliveryList",
    "Endpoint",
    "EndpointChangesBody",
    "EndpointList",
    "ErrorBody",
    "Event",
    "EventList",
    "EventPagination",
    "ExceededLimit",
    "Figures",
    "Health",
    "Job",
    "JobList",
    "Key",
    "KeyList",
    "Limits",
    "Links",
    "Membership",
    "Model",
    "ModelList",
    "NewEndpointBody",
    "NewJobBody",
    "NewKey",
    "NewKeyBody",
    "Organization",
    "Output",
    "Pack",
    "Pagination",
    "PriceLine",
    "Quote",
    "QuoteBody",
    "RateLimits",
    "Refund",
    "RefundRule",
    "RequestUsage",
    "Results",
    "RotationBody",
    "Secret",
    "SecretRotationBody",
    "SentTests",
    "StoredAsset",
    "StreamEvent",
    "Transaction",
    "TransactionList",
    "Upload",
    "UploadBody",
    "Usage",
    "UsageRow",
    "Used",
    "Variant",
    "WantedEvent",
    "WebhookTestBody",
]


class _Accepted(TypedDict):
    jobId: str
    status: str
    message: str
    creditsCharged: int
    input: Dict[str, Any]


class Accepted(_Accepted, total=False):
    """The answer of a call that did not wait."""

    refund: Optional["Refund"]
    """When the job was cancelled meanwhile."""
    externalJobId: Optional[str]
    """The provider's own name for the task, once it has one."""


class AssetList(TypedDict):
    """AssetList, as the reference has it."""

    data: List["StoredAsset"]
    pagination: "Pagination"


class _AssetMetadata(TypedDict):
    size: int
    """In bytes."""
    mimeType: str


class AssetMetadata(_AssetMetadata, total=False):
    """What is known of a file."""

    width: Optional[int]
    height: Optional[int]
    durationMs: Optional[int]
    filename: Optional[str]
    """Of one that was sent in: its name, cleaned."""


class _Asset(TypedDict):
    id: str
    url: str
    type: str
    """image, video or audio."""
    mimeType: str
    size: int


class Asset(_Asset, total=False):
    """Asset, as the reference has it."""

    width: Optional[int]
    height: Optional[int]
    durationMs: Optional[int]


class _Charges(TypedDict):
    jobId: str
    creditsCharged: int
    creditsRefunded: int
    creditsNet: int
    breakdown: List["PriceLine"]
    """How the price was made up when the job was created."""
    refundRule: "RefundRule"
    data: List["Transaction"]
    """The job's rows of the ledger, the newest first."""


class Charges(_Charges, total=False):
    """Charges, as the reference has it."""

    priceVersion: Optional[str]
    """The prices that held then; null for a job from before prices had versions."""


class Results(TypedDict, total=False):
    """Where the files are. Absent until the job is completed."""

    imageUrl: Optional[str]
    imageUrls: Optional[List[str]]
    """When there are several."""
    videoUrl: Optional[str]
    audioUrl: Optional[str]
    audio_url: Optional[str]
    """The same as `audioUrl`: clients read either."""
    resultUrls: Optional[List[str]]
    mimeType: Optional[str]


class _Completed(Results):
    jobId: str
    status: str
    creditsCharged: int
    durationMs: int
    """How long the work took."""


class Completed(_Completed, total=False):
    """The answer of a call that waited for its result."""

    provider: Optional[str]
    """Who made it: local is the built-in stand-in for a model."""
    mode: Optional[str]
    """With images: generate or edit."""
    refund: Optional["Refund"]
    """When fewer outputs came than were paid for."""


class _CreatedJob(TypedDict):
    id: str
    status: str
    creditsCharged: int
    createdAt: str
    _links: "Links"


class CreatedJob(_CreatedJob, total=False):
    """CreatedJob, as the reference has it."""

    workflow: Optional[str]


class Credits(TypedDict):
    """Credits, as the reference has it."""

    creditsRemaining: int
    creditsUsed: int
    """All that was ever charged."""
    creditsRefunded: int
    """All that was ever paid back."""


class DeletedAsset(TypedDict):
    """A file that is not there any more."""

    id: str
    deletedAt: str


class DeletedEndpoint(TypedDict):
    """DeletedEndpoint, as the reference has it."""

    id: str
    deleted: bool


class DeliveryList(TypedDict):
    """DeliveryList, as the reference has it."""

    data: List["Delivery"]
    pagination: "Pagination"


class _Delivery(TypedDict):
    id: str
    eventId: str
    """The `webhook-id`: the same at every attempt, and for every address."""
    type: str
    destination: str
    """The address that it goes to."""
    status: str
    """pending, delivered or failed."""
    attempts: int
    createdAt: str


class Delivery(_Delivery, total=False):
    """One event on its way to one address."""

    jobId: Optional[str]
    """Null for an event that is not the end of a job."""
    endpointId: Optional[str]
    """Null for the webhookUrl of a job."""
    nextAttemptAt: Optional[str]
    """Of a pending one."""
    lastAttemptAt: Optional[str]
    responseStatus: Optional[int]
    """What the receiver answered to the last attempt; null when it did not."""
    error: Optional[str]
    """Why it has not arrived."""
    durationMs: Optional[int]


class EndpointChangesBody(TypedDict, total=False):
    """EndpointChangesBody, as the reference has it."""

    url: Optional[str]
    events: Optional[List["WantedEvent"]]
    description: Optional[str]
    """Empty removes it."""
    enabled: Optional[bool]
    """Whether it is told anything. Switched on again, it begins without failures."""


class EndpointList(TypedDict):
    """EndpointList, as the reference has it."""

    data: List["Endpoint"]


class _Endpoint(TypedDict):
    id: str
    url: str
    events: List[str]
    """Which events are told; `*` for all."""
    status: str
    """enabled or disabled."""
    createdAt: str
    updatedAt: str


class Endpoint(_Endpoint, total=False):
    """Where the ends of jobs are told."""

    description: Optional[str]
    disabledReason: Optional[str]
    """`by_owner`; gone when it answered 410; failing when nothing else happened for five days."""
    disabledAt: Optional[str]
    failingSince: Optional[str]
    """Since when no delivery has arrived, if the last one did not."""


class _ErrorBody(TypedDict):
    error: str
    """A sentence for a human."""
    code: str
    """A stable word for programs."""
    requestId: str
    """What to tell the operator; also in the header x-request-id."""


class ErrorBody(_ErrorBody, total=False):
    """The one shape of every error. Fields that do not belong to an error's code are absent."""

    details: Dict[str, Any]
    """More about this error; what it holds depends on the code."""
    creditsRequired: Optional[int]
    """With `INSUFFICIENT_CREDITS`: the price."""
    creditsRemaining: Optional[int]
    """With `INSUFFICIENT_CREDITS`: the balance."""
    retryAfter: Optional[int]
    """With `RATE_LIMIT_EXCEEDED` and `UNAVAILABLE`, and while an idempotency key is in use: whole seconds to wait."""
    limits: Optional["ExceededLimit"]
    """With `RATE_LIMIT_EXCEEDED`: which limit."""
    refund: Optional["Refund"]
    """After a charge: what was paid back."""


class _EventList(TypedDict):
    data: List["Event"]
    pagination: "EventPagination"


class EventList(_EventList, total=False):
    """EventList, as the reference has it."""

    cursor: Optional[str]
    """Where to read on, whether or not there was anything; null while no job has ever ended."""


class _EventPagination(TypedDict):
    limit: int


class EventPagination(_EventPagination, total=False):
    """EventPagination, as the reference has it."""

    nextCursor: Optional[str]
    """For `after`, when there is more already; null at the end."""


class Event(TypedDict):
    """An event, with the id and the fields that its webhooks have."""

    id: str
    """The `webhook-id` of its webhooks."""
    type: str
    """job.completed, job.failed or job.cancelled."""
    timestamp: str
    data: "Job"


class ExceededLimit(TypedDict):
    """ExceededLimit, as the reference has it."""

    type: str
    limit: int
    used: int
    """The refused request counted."""


class Figures(TypedDict):
    """Everything counts when it happened: jobs when they were made, ends when they ended, credits when they moved."""

    jobs: int
    completed: int
    failed: int
    cancelled: int
    creditsCharged: int
    creditsRefunded: int
    creditsNet: int


class Health(TypedDict):
    """Health, as the reference has it."""

    status: str
    version: str


class JobList(TypedDict):
    """JobList, as the reference has it."""

    data: List["Job"]
    pagination: "Pagination"


class _Job(Results):
    id: str
    jobId: str
    """The same as `id`."""
    status: str
    """pending, running, completed, failed or cancelled; the last three are final."""
    progress: int
    """0 to 100; of several steps, their mean."""
    model: str
    """Of a workflow of several steps, that of the last."""
    creditsCharged: int
    creditsRefunded: int
    createdAt: str
    input: Dict[str, Any]
    """What was asked for, defaults filled in. Media stand as `asset:<id>`, which can be sent again."""


class Job(_Job, total=False):
    """A job, flat. What it made stands at the top and in `output`, once it is completed."""

    statusMessage: Optional[str]
    """Which steps of a workflow run, such as `Step 3 of 6: frame`; null for a job of one call, and once it has
    ended.
    """
    workflow: Optional[str]
    """Null for a job that a call of a model made."""
    workflowSlug: Optional[str]
    provider: Optional[str]
    """Who made it, once somebody does: local is the built-in stand-in for a model."""
    startedAt: Optional[str]
    completedAt: Optional[str]
    output: Optional["Output"]
    error: Optional[str]
    """Why there is no result, for a human."""
    code: Optional[str]
    details: Optional[Dict[str, Any]]
    """Of a failed job: reason and retryable."""
    refund: Optional["Refund"]


class KeyList(TypedDict):
    """KeyList, as the reference has it."""

    data: List["Key"]


class _Key(TypedDict):
    id: str
    name: str
    keyPrefix: str
    """How the key begins."""
    mode: str
    """live, or test for the sandbox."""
    scopes: List[str]
    isActive: bool
    """Neither revoked nor expired."""
    requestCount: int
    """Up to a moment ago."""
    createdAt: str


class Key(_Key, total=False):
    """A key without its secret."""

    expiresAt: Optional[str]
    lastUsedAt: Optional[str]
    """Up to a moment ago."""
    revokedAt: Optional[str]


class Limits(TypedDict):
    """Limits, as the reference has it."""

    rpm: int
    """Requests a minute."""
    rph: int
    """Requests an hour."""
    rpd: int
    """Requests a day."""
    concurrent: int
    """Jobs that have not ended."""


class Links(TypedDict):
    """Links, as the reference has it."""

    self: str
    status: str


class Membership(TypedDict):
    """Membership, as the reference has it."""

    id: str
    name: str
    role: str
    """owner or member."""


class ModelList(TypedDict):
    """ModelList, as the reference has it."""

    data: List["Model"]
    count: int


class _Model(TypedDict):
    slug: str
    name: str
    provider: str
    modelId: str
    creditsPerUnit: int
    pricingUnit: str
    deployedOn: str
    description: str
    kind: str
    """What it makes: image, video or audio."""
    answer: str
    """Whether a call waits for its result: sync or async."""
    variants: List["Variant"]
    """Where the price or the result depends on the input."""
    inputSchema: Dict[str, Any]
    """The JSON Schema that requests are checked against."""
    exampleInput: Dict[str, Any]
    isActive: bool
    """Whether it can be called now."""


class Model(_Model, total=False):
    """Model, as the reference has it."""

    endpoint: Optional[str]
    """Where it is called, below /api/v1; null for a model that only workflows use."""


class _NewEndpointBody(TypedDict):
    url: str
    """An address on the Internet, http or https."""


class NewEndpointBody(_NewEndpointBody, total=False):
    """NewEndpointBody, as the reference has it."""

    events: Optional[List["WantedEvent"]]
    """Of job.completed, job.failed, job.cancelled and `webhook.endpoint_disabled`; all when absent or `*`."""
    description: Optional[str]
    """For people; at most 200 printable characters."""


class _NewJobBody(TypedDict):
    workflow: str
    """Which workflow to run, such as `generate_image`."""
    input: Dict[str, Any]
    """What it takes; see the list of workflows."""


class NewJobBody(_NewJobBody, total=False):
    """NewJobBody, as the reference has it."""

    maxCredits: Optional[int]
    """Refuses with 402 when the job would cost more; also as the header X-Max-Credits."""
    webhookUrl: Optional[str]
    """Where the end of the job is told, besides the webhook endpoints of the organization."""


class _NewKeyBody(TypedDict):
    name: str
    """What it is for: 1 to 100 printable characters."""


class NewKeyBody(_NewKeyBody, total=False):
    """NewKeyBody, as the reference has it."""

    scopes: Optional[List[str]]
    """What it may do; everything when absent."""
    expiresInDays: Optional[int]
    """1 to 3650; never when absent or null."""
    mode: Optional[str]
    """live when absent; test for the sandbox."""


class _NewKey(TypedDict):
    id: str
    key: str
    """The key itself."""
    keyPrefix: str
    message: str
    name: str
    mode: str
    scopes: List[str]
    createdAt: str


class NewKey(_NewKey, total=False):
    """A key with its secret, which is shown this once."""

    expiresAt: Optional[str]
    replaces: Optional["Key"]
    """Of a rotation: the key that it replaces, with the end that it has now."""


class Organization(TypedDict):
    """Organization, as the reference has it."""

    id: str
    name: str
    plan: str
    creditsRemaining: int
    """Of the key's own kind: a test key sees the sandbox's balance."""
    createdAt: str
    updatedAt: str


class _Output(TypedDict):
    url: str
    assets: List["Asset"]


class Output(_Output, total=False):
    """Output, as the reference has it."""

    imageUrl: Optional[str]
    videoUrl: Optional[str]
    audioUrl: Optional[str]


class Pack(TypedDict):
    """Pack, as the reference has it."""

    pack: str
    priceUsd: int
    credits: int


class _Pagination(TypedDict):
    limit: int
    offset: int
    count: int
    """How many there are in all."""


class Pagination(_Pagination, total=False):
    """The page that was given."""

    nextCursor: Optional[str]
    """For `after`; null at the end."""


class PriceLine(TypedDict):
    """So many units at so much each."""

    item: str
    """The model, or a workflow that has one price for all its steps."""
    model: str
    """Of such a workflow, the one that makes its result."""
    pricingUnit: str
    creditsPerUnit: int
    units: int
    credits: int


class _QuoteBody(TypedDict):
    input: Dict[str, Any]


class QuoteBody(_QuoteBody, total=False):
    """One of `model` and `workflow`, with the input of the real call."""

    model: Optional[str]
    """A model, by its path or its slug."""
    workflow: Optional[str]
    """A workflow, by its slug."""


class Quote(TypedDict):
    """Quote, as the reference has it."""

    credits: int
    breakdown: List["PriceLine"]
    priceVersion: str
    """Changes with every price of this server, and with nothing else."""
    expiresAt: str


class RateLimits(TypedDict):
    """RateLimits, as the reference has it."""

    plan: str
    limits: "Limits"
    usage: "RequestUsage"
    timestamp: str


class Refund(TypedDict):
    """Refund, as the reference has it."""

    applied: bool
    creditsRefunded: int


class RefundRule(TypedDict):
    """Why a refund is what it is."""

    rule: str
    """`not_ended`, `delivered`, `partial`, `failed`, `timed_out` or `cancelled`."""
    explanation: str
    """The same for a human."""


class RequestUsage(TypedDict):
    """RequestUsage, as the reference has it."""

    minute: "Used"
    hour: "Used"
    day: "Used"
    concurrent: "Used"


class RotationBody(TypedDict, total=False):
    """RotationBody, as the reference has it."""

    overlapHours: Optional[int]
    """How many hours the old key lives on: 0 to 168; 0 when absent."""


class SecretRotationBody(TypedDict, total=False):
    """SecretRotationBody, as the reference has it."""

    overlapHours: Optional[int]
    """For how many hours the old secret signs, too: 0 to 168; 24 when absent."""


class _Secret(TypedDict):
    secret: str


class Secret(_Secret, total=False):
    """With what webhooks are signed."""

    previousSecretUntil: Optional[str]
    """Until when webhooks bear a signature of the secret before this one, too; null when there is none."""


class SentTests(TypedDict):
    """SentTests, as the reference has it."""

    data: List["Delivery"]


class _StoredAsset(TypedDict):
    id: str
    """`asset:<id>` stands for it wherever the URL of a file is asked for."""
    type: str
    """image, video or audio."""
    url: str
    """Readable without a key."""
    metadata: "AssetMetadata"
    createdAt: str


class StoredAsset(_StoredAsset, total=False):
    """A file that is kept: a job made it, or it was sent in."""

    workflow: Optional[str]
    """Of the job that made it; null for one that was made by a call of a model or sent in."""
    thumbnailUrl: Optional[str]
    """A JPEG of at most 512 pixels a side, made when it is asked for first; of a video, its first picture. Null
    where there is none. Whoever has it can tell the `url`.
    """
    jobId: Optional[str]
    """Which job made it; null for one that was sent in."""


class StreamEvent(TypedDict):
    """An event of the stream. Its data are JSON: of `status` and `progress` how the job stands, of `end` the whole
    job.
    """

    event: str
    id: str
    """For `Last-Event-ID`."""
    data: str


class TransactionList(TypedDict):
    """TransactionList, as the reference has it."""

    data: List["Transaction"]
    pagination: "Pagination"


class _Transaction(TypedDict):
    id: str
    type: str
    """grant, purchase, charge, refund or adjustment."""
    amount: int
    """Signed: what was taken is below zero."""
    balanceAfter: int
    reason: str
    createdAt: str


class Transaction(_Transaction, total=False):
    """Transaction, as the reference has it."""

    jobId: Optional[str]


class UploadBody(TypedDict):
    """UploadBody, as the reference has it."""

    file: str
    """By what its bytes are: a jpeg, png, webp or gif of at most 20 MiB, 8,192 pixels a side and 40 megapixels;
    with `type=video` an mp4, webm or mov of at most 100 MiB; with `type=audio` an mp3, wav, flac, ogg, m4a or aac
    of at most 50 MiB.
    """


class Upload(TypedDict):
    """Upload, as the reference has it."""

    url: str
    """Readable without a key. To be given wherever the URL of such a file is asked for."""
    filename: str
    """The name that the file had, cleaned, with the ending of its true type."""
    size: int
    """In bytes."""
    type: str
    """The true media type."""
    key: str
    """Can be given in place of the url."""


class UsageRow(Figures, total=False):
    """UsageRow, as the reference has it."""

    day: Optional[str]
    """With by=day."""
    model: Optional[str]
    """With by=model."""
    keyId: Optional[str]
    """With by=key; null for jobs that a person started."""
    keyName: Optional[str]
    """The key's name, as long as there is one."""


Usage = TypedDict(
    "Usage",
    {
        "from": str,
        "to": str,
        "by": str,
        "data": List["UsageRow"],
        "totals": "Figures",
    },
)
"""Usage, as the reference has it."""


class Used(TypedDict):
    """Used, as the reference has it."""

    used: int
    """More than the limit after a change to a smaller plan."""
    limit: int


class Variant(TypedDict):
    """Variant, as the reference has it."""

    when: Dict[str, Any]
    """The values of fields that choose it."""
    kind: str
    answer: str
    creditsPerUnit: int
    pricingUnit: str


WantedEvent = str
"""What an endpoint can ask for."""


class WebhookTestBody(TypedDict, total=False):
    """WebhookTestBody, as the reference has it."""

    endpointId: Optional[str]
    """Which endpoint; all that are enabled when absent."""
