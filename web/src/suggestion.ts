// The answer of the API about advice, as far as the page reads it. A test compares it with the API's own description.

export type Confidence = "low" | "medium" | "high";
export type ActionRisk = "low" | "medium" | "high";
export type AdviceUnit = "bytes" | "bytes_per_second" | "seconds" | "ratio" | "cpus" | "watts" | "count";
export type AdviceOrigin = "measured" | "computed" | "configured" | "assumed";

export interface Suggestions {
  time: number;
  advice: AdviceLine[];
  left_out: number;
  lacking: LackingLine[];
  lacking_left_out: number;
  judged?: number;
  history_seconds?: number;
}

export interface Advice {
  id: string;
  rule: string;
  title: string;
  why: string;
  evidence: AdviceEvidence[];
  saves?: AdviceSaves;
  confidence: Confidence;
  because: string;
  risk: ActionRisk;
  actions: Action[];
}

export interface AdviceLine extends Advice {
  about: string;
  workload?: string;
  state: string;
  since: number;
  ended?: number;
  value?: string;
  before?: AdviceEffect;
  after?: AdviceEffect;
}

export interface AdviceEvidence {
  what: string;
  value: number;
  unit: AdviceUnit;
  origin: AdviceOrigin;
}

export interface AdviceSaves {
  over_seconds: number;
  stall_seconds?: number;
  kills?: number;
  bytes?: number;
  watts?: number;
  assuming: string;
}

export interface AdviceEffect {
  seconds: number;
  kills_per_day?: number;
  stall_seconds_per_day?: number;
}

export interface Action {
  kind: string;
  key?: string;
  before?: string;
  after?: string;
  risk: ActionRisk;
  undo: string;
  commands: ActionCommand[];
}

export interface ActionCommand {
  text: string;
  file?: string;
  note?: string;
}

export interface LackingLine {
  rule: string;
  missing: string;
  about: string;
}
