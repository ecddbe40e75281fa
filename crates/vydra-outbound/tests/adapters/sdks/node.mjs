// What the adapters are compared with: each conversation of the tests, in the words of the provider's own SDK.
//
//   node node.mjs <folder of node_modules> <conversation>   < {"url": "…", "key": "…"}   > [what was made]

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const [folder, conversation] = process.argv.slice(2);
// Node.js 18 keeps it to itself.
globalThis.File ??= createRequire(import.meta.url)("node:buffer").File;

const load = createRequire(join(folder, "package.json"));
const { url, key } = JSON.parse(readFileSync(0, "utf8"));

const picture = Buffer.from("\x89PNG picture", "latin1");
const inline = { mimeType: "image/png", data: picture.toString("base64") };
const DATA_URI = `data:image/png;base64,${inline.data}`;
const image = { imageBytes: inline.data, mimeType: inline.mimeType };

const openai = (path = "") => new (load("openai").OpenAI)({ apiKey: key, baseURL: url + path, maxRetries: 0 });
const file = () => load("openai").toFile(picture, "input-0.png", { type: "image/png" });
const base64 = async (response) => Buffer.from(await response.arrayBuffer()).toString("base64");
const google = (apiVersion, options) =>
  new (load("@google/genai").GoogleGenAI)({ httpOptions: { baseUrl: url, apiVersion }, ...options });

async function until(isOver, ask, answer) {
  while (!isOver(answer)) answer = await ask(answer);
  return answer;
}

async function interactionBegins() {
  const { interactions } = google("v1beta", { apiKey: key });
  const begun = await interactions.create({
    model: "gemini-omni-1.2-flash",
    input: [
      { type: "text", text: "the snow begins to fall" },
      { type: "image", data: inline.data, mime_type: inline.mimeType },
    ],
    background: true,
    response_format: { type: "video", aspect_ratio: "16:9", resolution: "720p", duration: "8s", delivery: "uri" },
    generation_config: { video_config: { task: "image_to_video" } },
  });
  return { interactions, begun };
}

async function replicateBegins() {
  const { predictions } = new (load("replicate"))({ auth: key, baseUrl: url });
  const begun = await predictions.create({
    model: "black-forest-labs/flux-kontext-pro",
    input: { prompt: "make it winter", aspect_ratio: "1:1", input_image: DATA_URI },
  });
  return { predictions, begun };
}

const FAL_MODEL = "fal-ai/flux-2/edit";

async function falBegins() {
  const { queue } = load("@fal-ai/client").createFalClient({
    credentials: key,
    // It knows no other server than its own.
    requestMiddleware: async (request) => ({ ...request, url: request.url.replace("https://queue.fal.run", url) }),
  });
  const begun = await queue.submit(FAL_MODEL, {
    input: { prompt: "make it winter", image_size: "square_hd", image_urls: [DATA_URI] },
    startTimeout: 1800,
  });
  return { queue, begun, task: { requestId: begun.request_id } };
}

const conversations = {
  async openai_images() {
    const made = await openai().images.generate({
      model: "gpt-image-2", prompt: "a lighthouse", size: "1536x1024", quality: "high", output_format: "png", n: 1,
    });
    return made.data.map((one) => one.b64_json);
  },

  async openai_edits() {
    const made = await openai().images.edit({
      model: "gpt-image-2", prompt: "make it winter", size: "auto", output_compression: 90, n: 1, image: await file(),
    });
    return made.data.map((one) => one.b64_json);
  },

  async openai_speech() {
    return [await base64(await openai().audio.speech.create({
      model: "gpt-4o-mini-tts", input: "Ready.", voice: "coral", response_format: "mp3", speed: 1.25,
    }))];
  },

  async openai_videos() {
    const { videos } = openai("/v1");
    const begun = await videos.create({
      model: "Wan-AI/Wan2.2", prompt: "waves", seconds: "4", size: "832x480", input_reference: await file(),
    });
    const ended = await until((video) => video.status === "completed", (video) => videos.retrieve(video.id), begun);
    return [await base64(await videos.downloadContent(ended.id))];
  },

  async gemini_images() {
    const made = await google("v1beta", { apiKey: key }).models.generateContent({
      model: "gemini-nano-banana-2.1",
      contents: [{ role: "user", parts: [{ text: "make it winter" }, { inlineData: inline }, { inlineData: inline }] }],
      config: { responseModalities: ["TEXT", "IMAGE"], imageConfig: { aspectRatio: "16:9", imageSize: "2K" }, seed: 7 },
    });
    const parts = made.candidates[0].content.parts.filter((part) => part.inlineData && !part.thought);
    return parts.map((part) => part.inlineData.data);
  },

  async gemini_videos() {
    const { interactions, begun } = await interactionBegins();
    const ended = await until((one) => one.status === "completed", (one) => interactions.get(one.id), begun);
    const made = ended.steps.filter((step) => step.type === "model_output").flatMap((step) => step.content);
    return made.filter((part) => part.type === "video").map((part) => part.uri);
  },

  async gemini_videos_cancel() {
    const { interactions, begun } = await interactionBegins();
    await interactions.cancel(begun.id);
  },

  async vertex_videos() {
    const authClient = {
      getRequestHeaders: async () => new Headers({ Authorization: `Bearer ${key}` }),
    };
    const { models, operations } = google("v1", {
      vertexai: true, project: "p-1", location: "us-central1", googleAuthOptions: { authClient },
    });
    const begun = await models.generateVideos({
      model: "veo-3.1-generate-001", prompt: "the snow begins to fall", image,
      config: {
        aspectRatio: "16:9", durationSeconds: 8, generateAudio: true, numberOfVideos: 1, lastFrame: image,
        referenceImages: [{ image, referenceType: "ASSET" }],
      },
    });
    const ended = await until((one) => one.done, (operation) => operations.getVideosOperation({ operation }), begun);
    return ended.response.generatedVideos.map((one) => one.video.videoBytes);
  },

  async replicate() {
    const { predictions, begun } = await replicateBegins();
    const ended = await until((one) => one.status === "succeeded", (one) => predictions.get(one.id), begun);
    return [ended.output].flat();
  },

  async replicate_cancel() {
    const { predictions, begun } = await replicateBegins();
    await predictions.cancel(begun.id);
  },

  async elevenlabs() {
    const { ElevenLabsClient } = load("@elevenlabs/elevenlabs-js");
    const { textToSpeech } = new ElevenLabsClient({ apiKey: key, baseUrl: url, maxRetries: 0 });
    const stream = await textToSpeech.convert("21m00Tcm4TlvDq8ikWAM", {
      text: "Your picture is ready.", modelId: "eleven_multilingual_v2", outputFormat: "mp3_44100_128", seed: 7,
      voiceSettings: { stability: 0.5, speed: 1.1 },
    });
    return [await base64(new Response(stream))];
  },

  async fal() {
    const { queue, begun, task } = await falBegins();
    await until((one) => one.status === "COMPLETED", () => queue.status(FAL_MODEL, task), begun);
    return (await queue.result(FAL_MODEL, task)).data.images.map((one) => one.url);
  },

  async fal_cancel() {
    const { queue, task } = await falBegins();
    await queue.cancel(FAL_MODEL, task);
  },
};

process.stdout.write(JSON.stringify((await conversations[conversation]()) ?? null));
