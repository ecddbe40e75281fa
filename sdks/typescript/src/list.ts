/** One page of a list, and the way to all that follows. */
export interface Page<T> extends AsyncIterable<T> {
  /** What this page holds. */
  readonly data: T[];
  /** Which page it is; `count` is how many there are in all. */
  readonly pagination: { limit: number; offset: number; count: number; nextCursor?: string | null };
}

/** @internal */
export type Fetch<T> = (after: string | undefined) => Promise<Pick<Page<T>, "data" | "pagination">>;

/** A list: awaited it is its first page, iterated it is all its items, page by page. Nothing is asked for before. */
export class List<T> implements AsyncIterable<T>, PromiseLike<Page<T>> {
  readonly #fetch: Fetch<T>;
  readonly #after: string | undefined;
  #first: Promise<Page<T>> | undefined;

  /** @internal */
  constructor(fetch: Fetch<T>, after: string | undefined) {
    this.#fetch = fetch;
    this.#after = after;
  }

  /** The first page. */
  then<A = Page<T>, B = never>(onPage?: ((page: Page<T>) => A | PromiseLike<A>) | null, onError?: ((reason: unknown) => B | PromiseLike<B>) | null): Promise<A | B> {
    this.#first ??= this.#page(this.#after);
    return this.#first.then(onPage, onError);
  }

  /** All items, page by page. */
  async *[Symbol.asyncIterator](): AsyncGenerator<T, void, undefined> {
    yield* await this;
  }

  async #page(after: string | undefined): Promise<Page<T>> {
    const first = await this.#fetch(after);
    const fetch = this.#fetch;
    return {
      data: first.data,
      pagination: first.pagination,
      async *[Symbol.asyncIterator]() {
        let asked = after;
        for (let page = first; ; ) {
          yield* page.data;
          const next = page.pagination.nextCursor;
          // A cursor that leads to itself leads nowhere.
          if (next == null || next === asked) return;
          asked = next;
          page = await fetch(next);
        }
      },
    };
  }
}
