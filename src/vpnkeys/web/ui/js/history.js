// A card with a chart of the traffic by hour or day, of one key or of all.
import { get, isAbort, query } from "./api.js";
import { filled, spanNames, spanOf, trafficChart } from "./chart.js";
import { h, replace } from "./dom.js";
import { failure } from "./errors.js";
import { t } from "./i18n.js";
import { card, segments } from "./parts.js";

const REFRESH_MS = 60_000;

// Kept while the page lives: the next chart shows the span that was chosen last.
let span = spanNames[0];

/**
 * Returns the card; it loads again by itself until the signal ends.
 * @param {string} heading
 * @param {"/api/traffic/history" | `/api/keys/${string}/traffic/history`} path
 * @param {AbortSignal} signal
 * @param {Page.Child} [below]
 */
export function historyCard(heading, path, signal, below) {
  const chart = trafficChart(signal);
  const problem = h("div");
  const choices = spanNames.map((name) => /** @type {const} */ ([name, t(`span.${name}`)]));
  const choice = segments(t("chart.span"), choices, span, (chosen) => {
    span = chosen;
    load();
  });

  async function load() {
    const wanted = spanOf(span);
    try {
      const { points } = await get(query(path, { step: wanted.step, from: wanted.from }), { signal });
      replace(problem);
      chart.hidden = false;
      chart.show(wanted.step, filled(wanted, points));
    } catch (error) {
      if (isAbort(error)) return;
      chart.hidden = true;
      replace(problem, failure(error, load));
    }
  }

  const timer = setInterval(() => document.hidden || load(), REFRESH_MS);
  signal.addEventListener("abort", () => clearInterval(timer));
  // After the card is in the page: a chart needs to know how wide it is.
  queueMicrotask(load);
  return card(heading, { actions: [choice], class: "card history" }, problem, chart, below);
}
