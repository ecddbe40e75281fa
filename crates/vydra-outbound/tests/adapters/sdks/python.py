"""What the adapters are compared with: each conversation of the tests, in the words of the provider's own SDK.

    python python.py <conversation>   < {"url": "...", "key": "..."}   > [what was made]
"""

import base64
import json
import sys

CALL = json.load(sys.stdin)
URL, KEY = CALL["url"], CALL["key"]
PICTURE = b"\x89PNG picture"
FILE = ("input-0.png", PICTURE, "image/png")
DATA_URI = "data:image/png;base64," + base64.b64encode(PICTURE).decode()


def text(content):
    return base64.b64encode(content).decode()


def until(is_over, ask, answer):
    while not is_over(answer):
        answer = ask(answer)
    return answer


def openai(path=""):
    from openai import OpenAI

    return OpenAI(api_key=KEY, base_url=URL + path, max_retries=0)


def google(api_version, **options):
    from google import genai

    return genai.Client(http_options={"base_url": URL, "api_version": api_version}, **options)


def openai_images():
    made = openai().images.generate(
        model="gpt-image-2", prompt="a lighthouse", size="1536x1024", quality="high", output_format="png", n=1
    )
    return [one.b64_json for one in made.data]


def openai_edits():
    made = openai().images.edit(
        model="gpt-image-2", prompt="make it winter", size="auto", output_compression=90, n=1, image=FILE
    )
    return [one.b64_json for one in made.data]


def openai_speech():
    made = openai().audio.speech.create(
        model="gpt-4o-mini-tts", input="Ready.", voice="coral", response_format="mp3", speed=1.25
    )
    return [text(made.read())]


def openai_videos():
    videos = openai("/v1").videos
    begun = videos.create(
        model="Wan-AI/Wan2.2", prompt="waves", seconds="4", size="832x480", input_reference=FILE
    )
    ended = until(lambda one: one.status == "completed", lambda one: videos.retrieve(one.id), begun)
    return [text(videos.download_content(ended.id).read())]


def gemini_images():
    from google.genai import types

    picture = types.Part.from_bytes(data=PICTURE, mime_type="image/png")
    # Whoever lets go of a client closes it.
    client = google("v1beta", api_key=KEY)
    made = client.models.generate_content(
        model="gemini-nano-banana-2.1",
        contents=types.UserContent(["make it winter", picture, picture]),
        config={
            "response_modalities": ["TEXT", "IMAGE"],
            "image_config": {"aspect_ratio": "16:9", "image_size": "2K"},
            "seed": 7,
        },
    )
    parts = made.candidates[0].content.parts
    return [text(part.inline_data.data) for part in parts if part.inline_data and not part.thought]


def gemini_videos():
    client = google("v1beta", api_key=KEY)
    begun = client.interactions.create(
        model="gemini-omni-1.2-flash",
        input=[
            {"type": "text", "text": "the snow begins to fall"},
            {"type": "image", "data": text(PICTURE), "mime_type": "image/png"},
        ],
        background=True,
        response_format={
            "type": "video",
            "aspect_ratio": "16:9",
            "resolution": "720p",
            "duration": "8s",
            "delivery": "uri",
        },
        generation_config={"video_config": {"task": "image_to_video"}},
    )
    ended = until(lambda one: one.status == "completed", lambda one: client.interactions.get(one.id), begun)
    made = [part for step in ended.steps if step.type == "model_output" for part in step.content]
    return [part.uri for part in made if part.type == "video"]


def vertex_videos():
    from google.genai import types
    from google.oauth2.credentials import Credentials

    client = google("v1", vertexai=True, project="p-1", location="us-central1", credentials=Credentials(KEY))
    image = types.Image(image_bytes=PICTURE, mime_type="image/png")
    begun = client.models.generate_videos(
        model="veo-3.1-generate-001",
        prompt="the snow begins to fall",
        image=image,
        config=types.GenerateVideosConfig(
            aspect_ratio="16:9",
            duration_seconds=8,
            generate_audio=True,
            number_of_videos=1,
            last_frame=image,
            reference_images=[types.VideoGenerationReferenceImage(image=image, reference_type="ASSET")],
        ),
    )
    ended = until(lambda one: one.done, client.operations.get, begun)
    return [text(one.video.video_bytes) for one in ended.response.generated_videos]


def replicate():
    from replicate.client import Client

    client = Client(api_token=KEY, base_url=URL)
    begun = client.models.predictions.create(
        model="black-forest-labs/flux-kontext-pro",
        input={"prompt": "make it winter", "aspect_ratio": "1:1", "input_image": DATA_URI},
    )
    ended = until(lambda one: one.status == "succeeded", lambda one: client.predictions.get(one.id), begun)
    return ended.output if isinstance(ended.output, list) else [ended.output]


def elevenlabs():
    from elevenlabs import VoiceSettings
    from elevenlabs.client import ElevenLabs

    pieces = ElevenLabs(api_key=KEY, base_url=URL).text_to_speech.convert(
        "21m00Tcm4TlvDq8ikWAM",
        text="Your picture is ready.",
        model_id="eleven_multilingual_v2",
        output_format="mp3_44100_128",
        seed=7,
        voice_settings=VoiceSettings(stability=0.5, speed=1.1),
    )
    return [text(b"".join(pieces))]


json.dump(globals()[sys.argv[1]](), sys.stdout)
