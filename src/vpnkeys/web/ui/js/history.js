// A card with a chart of what was used, by hour or day, for one key or for all.
import { get, query } from "./api.js";
import { SPANS, filled, spanOf, trafficChart } from "./chart.js";
import { h, replace } from "./dom.js";
import { failure } from "./errors.js";
import { t } from "./i18n.js";
import { card, segments } from "./parts.js";

const REFRESH_MS = 60_000;
let span = "24h";

export function historyCard(heading, path, signal, { actions = [], below = null } = {}) {
  const chart = trafficChart(signal);
  const problem = h("div");
  const choice = segments(t("chart.span"), Object.keys(SPANS).map((name) => [name, t(`span.${name}`)]), span, (chosen) => {
    span = chosen;
    load();
  });

  async function load() {
    const asked = spanOf(span);
    try {
      const { points } = await get(query(path, { step: asked.step, from: asked.from }), { signal });
      replace(problem);
      chart.hidden = false;
      chart.show(asked.step, filled(asked, points));
    } catch (error) {
      if (error.name === "AbortError") return;
      chart.hidden = true;
      replace(problem, failure(error, load));
    }
  }

  const timer = setInterval(() => document.hidden || load(), REFRESH_MS);
  signal.addEventListener("abort", () => clearInterval(timer));
  // After the card is in the page: a chart needs to know how wide it is.
  queueMicrotask(load);
  return card(heading, { actions: [choice, ...actions], class: "card history" }, problem, chart, below);
}
