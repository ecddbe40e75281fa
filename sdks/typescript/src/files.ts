import { DownloadError } from "./errors.js";
import type { Answer } from "./transport.js";
import type { DownloadOptions, UploadSource } from "./types.js";

type Content = Blob | AsyncIterable<Uint8Array> | ReadableStream<Uint8Array>;

/** A form with one file in it: a stream, where a body may be one. @internal */
export async function form(boundary: string, name: string, file: Exclude<UploadSource, string>, streams: boolean): Promise<{ type: string; body: ReadableStream<Uint8Array> | Blob }> {
  const quoted = name.replace(/["\r\n]/g, encodeURIComponent);
  const head = new TextEncoder().encode(`--${boundary}\r\ncontent-disposition: form-data; name="file"; filename="${quoted}"\r\ncontent-type: application/octet-stream\r\n\r\n`);
  const tail = new TextEncoder().encode(`\r\n--${boundary}--\r\n`);
  const content = file instanceof Uint8Array || file instanceof ArrayBuffer ? new Blob([file as Uint8Array<ArrayBuffer>]) : file;
  const body = streams ? streamOf(around(head, content, tail)) : new Blob([head, content instanceof Blob ? content : await blobOf(content), tail]);
  return { type: `multipart/form-data; boundary=${boundary}`, body };
}

/** Takes a file chunk by chunk, and refuses what is none. @internal */
export async function medium(answer: Answer, onProgress: DownloadOptions["onProgress"], take: (chunk: Uint8Array) => unknown): Promise<{ size: number; type: string }> {
  const { headers } = answer.response;
  const type = headers.get("content-type")?.split(";")[0]?.trim().toLowerCase() ?? "";
  if (/^text\/|[/+]json$|\/xhtml/.test(type)) throw new DownloadError(`What came is no medium, but ${type}`);
  // The length of what is compressed is not that of what arrives.
  const promised = headers.has("content-encoding") ? undefined : headers.get("content-length");
  const total = promised == null ? undefined : Number(promised);
  let size = 0;
  for await (const chunk of answer.chunks()) {
    if (size === 0 && /^\s*[{[<]/.test(new TextDecoder("latin1").decode(chunk.subarray(0, 64)))) throw new DownloadError("What came is no medium, but a text");
    size += chunk.length;
    await take(chunk);
    onProgress?.(size, total);
  }
  if (size === 0) throw new DownloadError("What came is empty");
  if (total !== undefined && size < total) throw new DownloadError(`Only ${size} of ${total} bytes came`);
  return { size, type };
}

async function* piecesOf(content: Content): AsyncGenerator<Uint8Array, void, undefined> {
  const stream = content instanceof Blob ? content.stream() : content;
  if (!(stream instanceof ReadableStream)) return yield* stream;
  // Not every browser can iterate a stream.
  const reader = stream.getReader();
  try {
    for (let next; !(next = await reader.read()).done; ) yield next.value as Uint8Array;
  } finally {
    await reader.cancel().catch(() => {});
  }
}

async function* around(head: Uint8Array, content: Content, tail: Uint8Array): AsyncGenerator<Uint8Array, void, undefined> {
  yield head;
  yield* piecesOf(content);
  yield tail;
}

function streamOf(pieces: AsyncGenerator<Uint8Array, void, undefined>): ReadableStream<Uint8Array> {
  return new ReadableStream({
    async pull(controller) {
      const { done, value } = await pieces.next();
      if (done) controller.close();
      else controller.enqueue(value);
    },
    async cancel() {
      await pieces.return();
    },
  });
}

async function blobOf(content: Exclude<Content, Blob>): Promise<Blob> {
  const pieces: Uint8Array<ArrayBuffer>[] = [];
  for await (const piece of piecesOf(content)) pieces.push(piece as Uint8Array<ArrayBuffer>);
  return new Blob(pieces);
}
