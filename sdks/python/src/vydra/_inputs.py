"""What is given to and comes back from the calls that the reference has no schema of its own for."""

from __future__ import annotations

from typing import Optional, TypedDict, Union

from . import types

# Tools that read annotations look here for those that `CompletedJob` inherits.
from .types import Output, Refund  # noqa: F401


class _Prompt(TypedDict):
    prompt: str


class ImageInput(_Prompt, total=False):
    """What `generate.image` takes."""

    model: str
    """gemini-image if nothing is said, or grok-imagine."""
    aspect_ratio: str
    """1:1 if nothing is said."""


class VideoInput(_Prompt, total=False):
    """What `generate.video` takes."""

    model: str
    """veo3 if nothing is said, kling-3.1, seedance, seedance-2 or grok-imagine."""
    aspect_ratio: str
    """16:9 if nothing is said."""
    image_url: str
    """The picture to begin with."""
    image_urls: list[str]
    duration: int
    """Seconds."""


class _Text(TypedDict):
    text: str


class SpeechInput(_Text, total=False):
    """What `generate.speech` takes."""

    voice_id: str
    """Whose voice."""


class CompletedJob(types.Job):
    """A job that was waited for, and is completed."""

    url: str
    """The first of what was made."""
    urls: list[str]
    """All that was made."""


class StreamEvent(TypedDict):
    """How a job goes on."""

    event: str
    """status, progress or end."""
    status: str
    progress: int
    statusMessage: Optional[str]
    job: Optional[types.Job]
    """The whole job, at the end."""


ModelAnswer = Union[types.Completed, types.Accepted]
"""What a model's call gives: its results, or a pending job."""
