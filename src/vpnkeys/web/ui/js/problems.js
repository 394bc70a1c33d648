// What is wrong with the server: the word in the header opens the list, which changes with the server's state.
import { openDialog } from "./dialog.js";
import { h, reconcile, setText } from "./dom.js";
import { currentLanguage, date, moment, t } from "./i18n.js";
import { on, state } from "./store.js";

/** @typedef {Record<string, Record<"en" | "ru", { says: string; cure: string }>>} ProblemTexts by code and language */

/** @type {Promise<ProblemTexts> | undefined} */
let loading;

/** Loads what each problem means and what to do about it, once: the server may be hard to reach when it is needed. */
const texts = () => {
  loading ??= fetch(new URL("../i18n/problems.json", import.meta.url)).then((answer) => answer.json());
  return loading.catch(() => {
    loading = undefined; // the next one who asks tries again
    return /** @type {ProblemTexts} */ ({});
  });
};

/** Returns the level that the header shows: that of the server, unless the connection to it is lost. */
const level = () => (state.live === "lost" ? "lost" : (state.health?.status ?? "connecting"));

/**
 * Returns the header's word, a button that opens the list of problems. Screen readers read it when it changes.
 * @param {AbortSignal} signal
 */
export function statusLine(signal) {
  const text = h("span");
  const button = h(
    "button",
    { type: "button", class: "health-button", "aria-haspopup": "dialog", onclick: openProblems },
    h("i", { class: "dot", "aria-hidden": "true" }),
    text,
  );
  const element = h("p", { class: "health", role: "status" }, button);
  const update = () => {
    element.dataset.level = level();
    setText(text, t(`health.${level()}`));
  };
  on("health live", update, signal);
  update();
  texts();
  return element;
}

async function openProblems() {
  const known = await texts();
  const lead = h("p", { role: "status" });
  const list = h("ul", { class: "problems", role: "list", "aria-label": t("problems.title") });
  const closed = new AbortController();
  const update = () => {
    setText(lead, t(`problems.${level()}`));
    list.hidden = !state.health?.problems.length;
    reconcile(list, state.health?.problems ?? [], (problem) => problem.code, row, (element, problem) => draw(element, problem, known));
  };
  on("health live", update, closed.signal);
  update();
  const dialog = openDialog({ title: t("problems.title"), body: [lead, list], wide: true });
  dialog.addEventListener("close", () => closed.abort());
}

const row = () =>
  h("li", { class: "problem-row" }, h("h3"), h("p", { class: "detail" }), h("p", { class: "cure" }), h("p", { class: "muted" }));

/**
 * Shows a problem in its row. The server's own words are English in each language of the page, and are marked so: what it
 * adds to a text that the page has, and a problem that the page has no text for.
 * @param {HTMLElement} element
 * @param {Api.HealthProblem} problem
 * @param {ProblemTexts} known
 */
function draw(element, { code, since, detail }, known) {
  const shown = JSON.stringify([code, since, detail]);
  if (element.dataset.shown === shown) return;
  element.dataset.shown = shown;
  const [says, more, cure, about] = element.children;
  const mine = known[code]?.[currentLanguage()];
  const added = mine ? detail.slice(known[code].en.says.length).replace(/^ \((.*)\)$/, "$1") : "";
  says.replaceChildren(mine ? mine.says : h("span", { lang: "en" }, detail));
  more.toggleAttribute("hidden", !added);
  more.replaceChildren(...(added ? [t("problems.detail"), " ", h("span", { lang: "en" }, added)] : []));
  cure.replaceChildren(...(mine ? [h("b", {}, t("problems.cure")), " ", ...marked(mine.cure)] : []));
  const at = h("time", { datetime: moment(since).toISOString() }, date(since, "exact"));
  about.replaceChildren(t("problems.since"), " ", at, " · ", h("code", { class: "code" }, code));
}

/**
 * Returns the text with what stands between backticks as code.
 * @param {string} text
 */
const marked = (text) => text.split("`").map((part, index) => (index % 2 ? h("code", { class: "mono" }, part) : part));
