// Traffic over time: bars for hours and days by uPlot, in the page's own colours, with the numbers as a table beside.
import uPlot from "../vendor/uPlot.esm.js";
import { h, replace } from "./dom.js";
import { bytes, date, t } from "./i18n.js";

export const SPANS = {
  "24h": { step: "hour", count: 24 },
  "7d": { step: "hour", count: 168 },
  "30d": { step: "day", count: 30 },
  "90d": { step: "day", count: 90 },
};
const SECONDS = { hour: 3600, day: 86_400 };
const HEIGHT = 220;

// {from, to, step} for the API: whole hours or days of UTC, the present one included.
export function spanOf(name) {
  const { step, count } = SPANS[name];
  const length = SECONDS[step];
  const last = Math.floor(Date.now() / 1000 / length) * length;
  const from = last - (count - 1) * length;
  return { step, from: new Date(from * 1000).toISOString().slice(0, 19), times: Array.from({ length: count }, (_, n) => from + n * length) };
}

// The API leaves out what was nothing; a chart shows it.
export function filled(span, points) {
  const known = new Map(points.map((point) => [Date.parse(`${point.time}Z`) / 1000, point]));
  const values = (name) => span.times.map((time) => known.get(time)?.[name] ?? 0);
  return { times: span.times, down: values("down_bytes"), up: values("up_bytes") };
}

export function trafficChart(signal) {
  const plotPlace = h("div", { class: "plot" });
  const readout = h("p", { class: "readout" });
  const table = h("details", { class: "more" });
  const element = h("figure", { class: "chart" }, readout, plotPlace, table);
  let shown = null;
  let plot = null;

  function draw() {
    plot?.destroy();
    plot = null;
    if (!shown || !element.isConnected) return;
    plot = new uPlot(options(shown, plotPlace.clientWidth, say), stacked(shown), plotPlace);
    plot.root.setAttribute("aria-hidden", "true");
  }

  // The sums of all, or what is under the pointer.
  function say(place) {
    const one = place === null || place === undefined;
    const sum = (values) => (one ? values.reduce((all, value) => all + value, 0) : values[place]);
    const what = one ? t("chart.sum") : label(shown, place);
    replace(readout, h("b", {}, what), part("down", sum(shown.down)), part("up", sum(shown.up)));
  }

  function drawTable() {
    const rows = shown.times.map((_, place) => place).filter((place) => shown.down[place] || shown.up[place]).reverse();
    const row = (place) => h("tr", {}, h("th", { scope: "row" }, label(shown, place)), h("td", {}, bytes(shown.down[place])), h("td", {}, bytes(shown.up[place])));
    const head = h("tr", {}, ["chart.time", "chart.down", "chart.up"].map((name) => h("th", { scope: "col" }, t(name))));
    const content = rows.length > 0 ? h("table", { class: "plain" }, h("thead", {}, head), h("tbody", {}, rows.map(row))) : h("p", { class: "muted" }, t("chart.none"));
    replace(table, h("summary", {}, t("chart.table")), h("div", { class: "scroll", tabindex: 0, role: "group", "aria-label": t("chart.table") }, content));
  }

  const size = new ResizeObserver(() => plot?.setSize({ width: plotPlace.clientWidth, height: HEIGHT }));
  size.observe(plotPlace);
  document.addEventListener("theme", draw, { signal });
  signal.addEventListener("abort", () => (size.disconnect(), plot?.destroy()));

  element.show = (step, data) => {
    shown = { step, ...data };
    say(null);
    drawTable();
    draw();
  };
  return element;
}

const label = (shown, place) => date(shown.times[place], shown.step === "hour" ? "hour" : "day");
const part = (name, value) => h("span", { class: `series ${name}` }, t(`chart.${name}`), " ", h("span", { class: "figure" }, bytes(value)));

// What went down stands on what went up: the height of both is the sum.
const stacked = ({ times, down, up }) => [times, down.map((value, place) => value + up[place]), up];

// A canvas knows no variables of style sheets: an element is asked how it would look.
function colour(name) {
  const probe = h("i", { hidden: true, style: { color: `var(${name})` } });
  document.body.append(probe);
  const seen = getComputedStyle(probe).color;
  probe.remove();
  return seen;
}

function options({ step }, width, say) {
  const bars = uPlot.paths.bars({ size: [0.72, 28], radius: 0.15 });
  const axis = { stroke: colour("--muted"), font: `11px ${getComputedStyle(document.body).fontFamily}`, ticks: { show: false } };
  const name = (time) => {
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
    scales: { x: { time: true, range: (_, least, most) => [least - gap(step) * 0.6, most + gap(step) * 0.6] }, y: { range: (_, __, most) => [0, Math.max(most, 1000) * 1.08] } },
    axes: [
      { ...axis, grid: { show: false }, space: 64, size: 28, values: (_, times) => times.map(name) },
      { ...axis, grid: { stroke: colour("--line"), width: 1 }, size: 72, space: 40, values: (_, values) => values.map((value) => (value === 0 ? "0" : bytes(value))) },
    ],
    series: [
      {},
      { paths: bars, fill: colour("--down"), stroke: "transparent", width: 0, points: { show: false } },
      { paths: bars, fill: colour("--up"), stroke: "transparent", width: 0, points: { show: false } },
    ],
    hooks: { setCursor: [(plot) => say(plot.cursor.idx)] },
  };
}

const gap = (step) => SECONDS[step];
