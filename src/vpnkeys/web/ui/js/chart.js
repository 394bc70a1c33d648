// Traffic over time: bars for hours and days by uPlot, in the page's own colours, and the numbers as a table.
import uPlot from "../vendor/uPlot.esm.js";
import { h, replace } from "./dom.js";
import { bytes, date, t } from "./i18n.js";

/** @satisfies {Record<string, { step: Api.Step, count: number }>} */
const SPANS = {
  "24h": { step: "hour", count: 24 },
  "7d": { step: "hour", count: 168 },
  "30d": { step: "day", count: 30 },
  "90d": { step: "day", count: 90 },
};
/** @typedef {keyof typeof SPANS} SpanName */
/** @typedef {Page.Series & { step: Api.Step }} Shown */

/** @type {SpanName[]} */
export const spanNames = ["24h", "7d", "30d", "90d"];

const SECONDS = { hour: 3600, day: 86_400 };
const HEIGHT = 220;

/**
 * Returns the span as whole hours or days of UTC; the present one is the last.
 * @param {SpanName} name
 * @returns {Page.Span}
 */
export function spanOf(name) {
  const { step, count } = SPANS[name];
  const length = SECONDS[step];
  const last = Math.floor(Date.now() / 1000 / length) * length;
  const from = last - (count - 1) * length;
  return { step, from: new Date(from * 1000).toISOString().slice(0, 19), times: Array.from({ length: count }, (_, n) => from + n * length) };
}

/**
 * Returns the values of the whole span: the API leaves zeros out, and a chart shows them.
 * @param {Page.Span} span
 * @param {Api.Point[]} points
 * @returns {Page.Series}
 */
export function filled(span, points) {
  const known = new Map(points.map((point) => [Date.parse(`${point.time}Z`) / 1000, point]));
  const values = (/** @type {"down_bytes" | "up_bytes"} */ name) => span.times.map((time) => known.get(time)?.[name] ?? 0);
  return { times: span.times, down: values("down_bytes"), up: values("up_bytes") };
}

/**
 * Returns an element that draws what its `show` was given last.
 * @param {AbortSignal} signal
 */
export function trafficChart(signal) {
  const canvas = h("div", { class: "plot" });
  const readout = h("p", { class: "readout" });
  const table = h("details", { class: "more" });
  const still = h("p", { class: "muted chart-empty", hidden: true }, t("chart.none"));
  const element = h("figure", { class: "chart" }, readout, canvas, still, table);
  /** @type {Shown | null} */
  let shown = null;
  /** @type {uPlot | null} */
  let plot = null;

  function draw() {
    plot?.destroy();
    plot = null;
    if (!shown || !element.isConnected) return;
    const series = shown;
    plot = new uPlot(options(series, canvas.clientWidth, (index) => replace(readout, readings(series, index))), stacked(series), canvas);
    plot.root.setAttribute("aria-hidden", "true");
  }

  const size = new ResizeObserver(() => plot?.setSize({ width: canvas.clientWidth, height: HEIGHT }));
  size.observe(canvas);
  document.addEventListener("theme", draw, { signal });
  signal.addEventListener("abort", () => (size.disconnect(), plot?.destroy()));

  /**
   * @param {Api.Step} step
   * @param {Page.Series} series
   */
  function show(step, series) {
    shown = { step, ...series };
    replace(readout, readings(shown, null));
    still.hidden = [...series.down, ...series.up].some((value) => value > 0);
    replace(table, h("summary", {}, t("chart.table")), tableOf(shown));
    draw();
  }
  return Object.assign(element, { show });
}

/**
 * Returns the values under the pointer, or the sums of all where it is elsewhere.
 * @param {Shown} shown
 * @param {number | null | undefined} index
 */
function readings(shown, index) {
  const isSum = index === null || index === undefined;
  const value = (/** @type {number[]} */ values) => (isSum ? values.reduce((sum, one) => sum + one, 0) : values[index]);
  const part = (/** @type {"down" | "up"} */ name) =>
    h("span", { class: `series ${name}` }, t(`chart.${name}`), " ", h("span", { class: "figure" }, bytes(value(shown[name]))));
  return [h("b", {}, isSum ? t("chart.sum") : label(shown, index)), part("down"), part("up")];
}

/** @param {Shown} shown */
function tableOf(shown) {
  const used = shown.times.map((_, index) => index).filter((index) => shown.down[index] || shown.up[index]).reverse();
  const rows = used.map((index) => h("tr", {}, h("th", { scope: "row" }, label(shown, index)), h("td", {}, bytes(shown.down[index])), h("td", {}, bytes(shown.up[index]))));
  const head = h("tr", {}, /** @type {const} */ (["chart.time", "chart.down", "chart.up"]).map((name) => h("th", { scope: "col" }, t(name))));
  const content = rows.length > 0 ? h("table", { class: "plain" }, h("thead", {}, head), h("tbody", {}, rows)) : h("p", { class: "muted" }, t("chart.none"));
  return h("div", { class: "scroll", tabindex: 0, role: "group", "aria-label": t("chart.table") }, content);
}

/**
 * @param {Shown} shown
 * @param {number} index
 */
const label = (shown, index) => date(shown.times[index], shown.step === "hour" ? "hour" : "day");

/**
 * Returns the bars: down stands on up, so that the height of both is their sum.
 * @param {Shown} shown
 */
const stacked = ({ times, down, up }) => [times, down.map((value, index) => value + up[index]), up];

/**
 * Returns the colour of a style sheet's variable, which a canvas cannot use: the browser works it out for an element.
 * @param {string} name
 */
export function colour(name) {
  const probe = h("i", { hidden: true, style: { color: `var(${name})` } });
  document.body.append(probe);
  const seen = getComputedStyle(probe).color;
  probe.remove();
  return seen;
}

/**
 * @param {Shown} shown
 * @param {number} width
 * @param {(index: number | null | undefined) => void} point is called with what is under the pointer
 * @returns {import("../vendor/uPlot.esm.js").Options}
 */
function options({ step }, width, point) {
  const bars = uPlot.paths.bars({ size: [0.72, 28], radius: 0.15 });
  const axis = { stroke: colour("--muted"), font: `11px ${getComputedStyle(document.body).fontFamily}`, ticks: { show: false } };
  const margin = SECONDS[step] * 0.6;
  const name = (/** @type {number} */ time) => {
    if (step === "day") return date(time, "monthday");
    return date(time, new Date(time * 1000).getHours() === 0 ? "today" : "clock");
  };
  return {
    width,
    height: HEIGHT,
    padding: [12, 8, 0, 0],
    legend: { show: false },
    tzDate: step === "day" ? (time) => uPlot.tzDate(new Date(time * 1000), "UTC") : undefined,
    cursor: { y: false, points: { show: false }, drag: { x: false, y: false } },
    scales: { x: { time: true, range: (_, least, most) => [least - margin, most + margin] }, y: { range: (_, __, most) => [0, Math.max(most, 1000) * 1.08] } },
    axes: [
      { ...axis, grid: { show: false }, space: 64, size: 28, values: (_, times) => times.map(name) },
      { ...axis, grid: { stroke: colour("--line"), width: 1 }, size: 72, space: 40, values: (_, values) => values.map((value) => (value === 0 ? "0" : bytes(value))) },
    ],
    series: [
      {},
      { paths: bars, fill: colour("--down"), stroke: "transparent", width: 0, points: { show: false } },
      { paths: bars, fill: colour("--up"), stroke: "transparent", width: 0, points: { show: false } },
    ],
    hooks: { setCursor: [(plot) => point(plot.cursor.idx)] },
  };
}
