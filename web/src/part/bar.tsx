// How full something is. The number stands beside it, so it is no more than a picture.

/** From these shares on it is nearly full, and as good as full. */
const NEAR = 0.85;
const FULL = 0.95;

interface Props {
  ratio: number | undefined;
  /** Being full is nothing bad in itself. */
  free?: boolean;
}

export function Bar({ ratio, free }: Props) {
  const share = Math.min(1, Math.max(0, ratio ?? 0));
  return (
    <svg class={`bar ${free ? "" : grade(ratio)}`} viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true">
      <rect class="track" width="100" height="6" />
      <rect class="fill" width={100 * share} height="6" />
    </svg>
  );
}

export function grade(ratio: number | undefined): string {
  if (ratio === undefined || ratio < NEAR) return "";
  return ratio < FULL ? "near" : "full";
}

/** The same in words. */
export function word(ratio: number | undefined): string {
  return { "": "", near: "near limit", full: "at limit" }[grade(ratio)] ?? "";
}
