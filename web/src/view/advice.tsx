// What to change on this host: each advice with its evidence, what it would have saved, and commands to copy; what was followed, and what
// could not be judged.

import { useRef, useState } from "preact/hooks";
import type { World } from "../feed";
import { ago, bytes, moment, span } from "../format";
import { Named, Table } from "../part/plain";
import { amount, effect, saved } from "../saving";
import type { Action, ActionCommand, AdviceLine, Confidence, Suggestions } from "../suggestion";

/** Colours of confidences: those of the badges. */
const SURE: Record<Confidence, string> = { high: "healthy", medium: "info", low: "moderate" };
/** Actions whose values are bytes. */
const MEMORY = [
  "memory_low",
  "memory_min",
  "memory_high",
  "memory_max",
  "swap_max",
  "swap_on",
  "swap_off",
  "zram_on",
  "reclaim",
];

export function Advised({ world }: { world: World }) {
  const { suggestions } = world;
  if (!suggestions) return <p class="none">Asking the agent …</p>;
  const { time, advice, lacking } = suggestions;
  const holds = advice.filter((it) => it.state === "holds");
  const over = advice.filter((it) => it.state !== "holds");
  return (
    <>
      <p class="dim">
        {judged(suggestions)} Headroom changes nothing itself: copy a command, and it sees that it was followed. In a terminal:{" "}
        <code>headroom advise</code>
      </p>
      {holds.length === 0 && suggestions.judged !== undefined && <p class="none">Nothing to change, as far as is known.</p>}
      <List lines={holds} now={time} />
      {suggestions.left_out > 0 && <p class="dim">{suggestions.left_out} more hold, less sure or saving less.</p>}
      {over.length > 0 && (
        <section>
          <h2>Followed, or gone</h2>
          <List lines={over} now={time} />
        </section>
      )}
      {lacking.length > 0 && (
        <Table
          title="Could not be judged"
          heads={["Rule", "About", "What is missing"]}
          rows={lacking.map((it) => [it.rule, it.about, it.missing])}
        />
      )}
      {suggestions.lacking_left_out > 0 && <p class="dim">And {suggestions.lacking_left_out} more.</p>}
    </>
  );
}

function judged({ time, judged, history_seconds: history }: Suggestions): string {
  if (judged === undefined) return "Nothing was judged yet: advice comes some minutes after the agent has started.";
  const known = history ? `with ${span(history)} of history` : "without the history of the last days, which is not known";
  return `Judged ${ago(judged, time)}, ${known}.`;
}

function List({ lines, now }: { lines: AdviceLine[]; now: number }) {
  return (
    <ul class="list">
      {lines.map((line) => (
        // What was followed may be advised once more.
        <Item key={`${line.id} ${line.since}`} line={line} now={now} />
      ))}
    </ul>
  );
}

function Item({ line, now }: { line: AdviceLine; now: number }) {
  const saves = line.saves && saved(line.saves);
  return (
    <li class="item">
      <div class="line">
        <span class={`badge ${SURE[line.confidence]}`}>{line.confidence} confidence</span>
        <span class="label">{line.risk} risk</span>
        {line.workload !== undefined && <Named name={line.workload} />}
        <time class="dim" title={moment(line.since)}>
          {line.state === "holds" ? `since ${moment(line.since).slice(5, 16)}` : became(line, now)}
        </time>
      </div>
      <p>
        <strong>{line.title}</strong>
      </p>
      <p>{line.why}</p>
      {saves && <p>Would have saved {saves}.</p>}
      <details>
        <summary>Evidence and commands</summary>
        <Evidence line={line} />
        {line.actions.length > 1 && <p class="dim">Any one of these; the first fits best.</p>}
        {line.actions.map((action, at) => (
          <Change key={at} action={action} number={line.actions.length > 1 ? at + 1 : undefined} />
        ))}
        <p class="dim">{line.id}</p>
      </details>
    </li>
  );
}

function became(line: AdviceLine, now: number): string {
  const ended = line.ended === undefined ? "some time ago" : ago(line.ended, now);
  if (line.state === "gone") return `no longer held ${ended}; it was not seen to be followed`;
  const [action] = line.actions;
  const set = line.value === undefined || action === undefined ? "" : `: set to ${shown(action.kind, line.value)}`;
  if (!line.after) return `followed ${ended}${set}; what that did is known a day after it`;
  const before = line.before ? `before: ${effect(line.before)}; ` : "";
  return `followed ${ended}${set}; ${before}since: ${effect(line.after)}`;
}

function Evidence({ line }: { line: AdviceLine }) {
  return (
    <>
      <dl class="facts">
        {line.evidence.map((it) => (
          <div key={it.what}>
            <dt>{it.what}</dt>
            <dd>
              {amount(it)} <span class="label">{it.origin}</span>
            </dd>
          </div>
        ))}
      </dl>
      {line.saves?.assuming && <p class="dim">Saved if {line.saves.assuming}</p>}
      <p>
        {line.confidence} confidence: {line.because}
      </p>
    </>
  );
}

function Change({ action, number }: { action: Action; number?: number }) {
  return (
    <div class="change">
      <p>
        {number !== undefined && `${number}. `}
        {action.key ?? action.kind.replace(/_/g, " ")}
        {values(action)} <span class="label">{action.risk} risk</span>
      </p>
      {action.commands.map((command) => (
        <Copy key={command.text} command={command} />
      ))}
      <p class="dim">Undo: {action.undo}</p>
    </div>
  );
}

function values({ kind, before, after }: Action): string {
  if (after === undefined) return before === undefined ? "" : `: now ${shown(kind, before)}`;
  return before === undefined ? `: ${shown(kind, after)}` : `: ${shown(kind, before)} → ${shown(kind, after)}`;
}

/** A value that an action sets: bytes with their unit. */
function shown(kind: string, value: string): string {
  return MEMORY.includes(kind) && /^\d+$/.test(value) ? bytes(Number(value)) : value;
}

/** A command, and a button that copies it. */
function Copy({ command }: { command: ActionCommand }) {
  const text = useRef<HTMLPreElement>(null);
  const [said, setSaid] = useState("Copy");
  const copy = async (): Promise<void> => {
    try {
      await navigator.clipboard.writeText(command.text);
      setSaid("Copied");
    } catch {
      // Without HTTPS a page from another host has no clipboard.
      if (text.current) getSelection()?.selectAllChildren(text.current);
      setSaid("Selected: press Ctrl+C");
    }
  };
  return (
    <div class="command">
      {command.file !== undefined && <p class="dim">in {command.file}:</p>}
      <pre ref={text} tabIndex={0} role="region" aria-label="Command">
        {command.text}
      </pre>
      <button type="button" onClick={() => void copy()}>
        {said}
      </button>
      {command.note !== undefined && <p class="dim">{command.note}</p>}
    </div>
  );
}
