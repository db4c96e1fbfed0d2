// What the reader chose, kept in this browser. Without permission to keep it, it lasts as long as the page.

const kept = new Map<string, string>();

export function recall(key: string): string | undefined {
  try {
    return localStorage.getItem(`headroom.${key}`) ?? kept.get(key);
  } catch {
    return kept.get(key);
  }
}

export function remember(key: string, value: string): void {
  kept.set(key, value);
  try {
    localStorage.setItem(`headroom.${key}`, value);
  } catch {
    // Private windows may refuse.
  }
}
