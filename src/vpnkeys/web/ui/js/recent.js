// The last 15 minutes as the server has kept them: traffic down and up as two lines, so that nothing begins with the page.
import uPlot from "../vendor/uPlot.esm.js";
import { h, replace } from "./dom.js";
import { colour } from "./chart.js";
import { date, moment, rate, t } from "./i18n.js";

const HEIGHT = 180;
const SPAN_S = 900;
// The chart's top where nothing moves: 100 kbit/s.
const LEAST_TOP = 12_500;

/** @typedef {{ times: number[], down: number[], up: number[] }} Rates */

/**
 * Returns an element that draws the moments that its `show` was given last.
 * @param {AbortSignal} signal
 */
export function recentChart(signal) {
  const canvas = h("div", { class: "plot recent" });
  const readout = h("p", { class: "readout" });
  const still = h("p", { class: "muted chart-empty", hidden: true });
  const element = h("figure", { class: "chart", role: "group", "aria-label": t("recent.title") }, readout, canvas, still);
  /** @type {Rates} */
  let shown = { times: [], down: [], up: [] };
  /** @type {uPlot | null} */
  let plot = null;

  function draw() {
    plot?.destroy();
    plot = null;
    if (!element.isConnected || shown.times.length < 2) return;
    plot = new uPlot(options(canvas.clientWidth, (index) => replace(readout, readings(shown, index))), [shown.times, shown.down, shown.up], canvas);
    plot.root.setAttribute("aria-hidden", "true");
  }

  const size = new ResizeObserver(() => plot?.setSize({ width: canvas.clientWidth, height: HEIGHT }));
  size.observe(canvas);
  document.addEventListener("theme", draw, { signal });
  signal.addEventListener("abort", () => (size.disconnect(), plot?.destroy()));

  /** @param {Api.Moment[]} moments */
  function show(moments) {
    shown = {
      times: moments.map((one) => moment(one.time).getTime() / 1000),
      down: moments.map((one) => one.down_rate),
      up: moments.map((one) => one.up_rate),
    };
    replace(readout, readings(shown, null));
    const moved = moments.some((one) => one.down_rate > 0 || one.up_rate > 0);
    still.hidden = moved;
    still.textContent = t(shown.times.length < 2 ? "recent.starting" : "recent.none");
    if (plot) plot.setData([shown.times, shown.down, shown.up]);
    else draw();
  }
  return Object.assign(element, { show });
}

/**
 * Returns the rates under the pointer, or the newest where it is elsewhere.
 * @param {Rates} shown
 * @param {number | null | undefined} index
 */
function readings({ times, down, up }, index) {
  const at = index ?? times.length - 1;
  const part = (/** @type {"down" | "up"} */ name, /** @type {number[]} */ values) =>
    h("span", { class: `series ${name}` }, t(`chart.${name}`), " ", h("span", { class: "figure" }, rate(values[at] ?? 0)));
  return [h("b", {}, index === null || index === undefined ? t("recent.now") : date(times[at], "clock")), part("down", down), part("up", up)];
}

/**
 * @param {number} width
 * @param {(index: number | null | undefined) => void} point is called with what is under the pointer
 * @returns {import("../vendor/uPlot.esm.js").Options}
 */
function options(width, point) {
  const axis = { stroke: colour("--muted"), font: `11px ${getComputedStyle(document.body).fontFamily}`, ticks: { show: false } };
  const line = (/** @type {string} */ name) => ({ stroke: colour(name), width: 1.5, points: { show: false } });
  return {
    width,
    height: HEIGHT,
    padding: [12, 8, 0, 0],
    legend: { show: false },
    cursor: { y: false, points: { show: false }, drag: { x: false, y: false } },
    scales: {
      x: { time: true, range: (_, __, newest) => [newest - SPAN_S, newest] },
      y: { range: (_, __, most) => [0, Math.max(most, LEAST_TOP) * 1.08] },
    },
    axes: [
      { ...axis, grid: { show: false }, space: 64, size: 28, values: (_, times) => times.map((time) => date(time, "clock")) },
      { ...axis, grid: { stroke: colour("--line"), width: 1 }, size: 84, space: 40, values: (_, values) => values.map((value) => (value === 0 ? "0" : rate(value))) },
    ],
    series: [{}, line("--down"), line("--up")],
    hooks: { setCursor: [(plot) => point(plot.cursor.idx)] },
  };
}
