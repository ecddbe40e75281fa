/** A file to send. @internal */
export interface Source {
  readonly name: string;
  readonly size: number;
  readonly stream: ReadableStream<Uint8Array>;
}

/** A file that appears only once it is whole. @internal */
export interface Target {
  write(chunk: Uint8Array): Promise<void>;
  commit(): Promise<void>;
  discard(): Promise<void>;
}

/** What a browser has not, or has otherwise. @internal */
export interface Platform {
  readonly crypto: Crypto;
  /** Whether `user-agent` may be set. */
  readonly namesItself: boolean;
  /** Whether a request's body may be a stream. */
  readonly streams: boolean;
  env(name: string): string | undefined;
  /** The credentials file, when there is one. */
  credentials(): { path: string; text: string } | undefined;
  open(path: string): Promise<Source>;
  create(path: string): Promise<Target>;
}
