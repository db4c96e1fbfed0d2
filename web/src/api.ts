// Asks the agent that served the page, and nobody else.

import type { Problem } from "./type";

/** How long an answer may take. */
const PATIENCE = 15_000;

/** Below which path the agent is, behind whatever proxy. The page has one address, so its path is a folder. */
const base = location.pathname.endsWith("/") ? location.pathname : `${location.pathname}/`;

/** What the agent answered instead, or why there is no answer. */
export class Failure extends Error {
  constructor(
    message: string,
    /** The HTTP status; 0 without an answer. */
    readonly status: number,
  ) {
    super(message);
  }
}

export function link(path: string): string {
  return base + path;
}

/** The answer of a read of the API. */
export async function read<T>(path: string, signal?: AbortSignal): Promise<T> {
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(), PATIENCE);
  const stop = (): void => late.abort();
  signal?.addEventListener("abort", stop);
  try {
    const response = await fetch(link(`api/v1/${path}`), { signal: late.signal, cache: "no-store" });
    if (!response.ok) throw new Failure(await reason(response), response.status);
    return (await response.json()) as T;
  } catch (error) {
    if (error instanceof Failure) throw error;
    throw new Failure(late.signal.aborted ? `no answer within ${PATIENCE / 1000} s` : "the agent cannot be reached", 0);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", stop);
  }
}

async function reason(response: Response): Promise<string> {
  try {
    return ((await response.json()) as Problem).detail || response.statusText;
  } catch {
    return `${response.status} ${response.statusText}`;
  }
}

/** A part of a path or of a query. */
export const encode = encodeURIComponent;
