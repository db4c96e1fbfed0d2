// What a dashboard of ours may contain: Grafana's own types, narrowed to the panels that we generate. A property that Grafana does
// not know is an error, and so is a value that it does not take.
import type { AnnotationQuery, Dashboard, DataQuery, Panel, RowPanel } from "@grafana/schema";
import type * as Bars from "@grafana/schema/dist/esm/raw/composable/bargauge/panelcfg/x/BarGaugePanelCfg_types.gen";
import type * as Stat from "@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen";
import type * as Table from "@grafana/schema/dist/esm/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen";
import type * as Lines from "@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen";

// The types of Prometheus' data source are not in this package.
type Query = Plain<DataQuery> & { expr: string };

type Target = Query & {
  datasource: { type: "prometheus"; uid: string };
  legendFormat: string;
  instant: boolean;
  range: boolean;
  format: "time_series" | "table";
};

// As JSON has it: the value of an enum instead of its name, and every property with a default may be left out.
type Plain<T> = T extends string
  ? `${T}`
  : T extends (infer Item)[]
    ? Plain<Item>[]
    : T extends object
      ? { [Key in keyof T as string extends Key ? never : Key]?: Plain<T[Key]> }
      : T;

type Defaults<Custom> = Omit<
  Plain<NonNullable<NonNullable<Panel["fieldConfig"]>["defaults"]>>,
  "custom" | "links" | "thresholds"
> & {
  custom: Plain<Custom>;
  links?: { title: string; url: string }[];
  // The types say that a value is a number; JSON has null for the lowest one, which stands for minus infinity.
  thresholds: { mode: "absolute"; steps: { color: string; value: number | null }[] };
};

type Of<Type extends string, Options, Custom> = Required<
  Pick<Plain<Panel>, "id" | "title" | "description" | "datasource" | "gridPos">
> & {
  type: Type;
  options: Plain<Options>;
  fieldConfig: { defaults: Defaults<Custom>; overrides: [] };
  targets: Target[];
};

type Shown =
  | Of<"timeseries", Lines.Options, Lines.FieldConfig>
  | Of<"stat", Stat.Options, {}>
  | Of<"bargauge", Bars.Options, {}>
  | Of<"table", Table.Options, {}>;

type Row = Required<Pick<Plain<RowPanel>, "id" | "title" | "collapsed" | "gridPos">> & { type: "row"; panels: Shown[] };

export type Checked = Omit<Plain<Dashboard>, "annotations" | "panels" | "templating"> & {
  annotations: { list: (Plain<Omit<AnnotationQuery, "target">> & { target: Query; titleFormat: string; textFormat: string })[] };
  panels: (Shown | Row)[];
  // Grafana's types know what all variables have in common, and the properties of some kinds only.
  templating: { list: (Plain<NonNullable<NonNullable<Dashboard["templating"]>["list"]>[number]> & { definition?: string })[] };
};
