// API tokens: each with its scope and its end.
import { get, isAbort, post, query, remove } from "../../api.js";
import { openDialog } from "../../dialog.js";
import { h, replace } from "../../dom.js";
import { empty, failure, loading, wrong } from "../../errors.js";
import { field, fromLocalInput, numberInput, select, textInput } from "../../form.js";
import { t } from "../../i18n.js";
import { button, card, named, title, when } from "../../parts.js";
import { state } from "../../store.js";
import { toast, undoable } from "../../toast.js";
import { accessHead } from "./tabs.js";
import { secretDialog } from "./secret.js";

/** @type {Api.Scope[]} */
const SCOPES = ["read", "keys", "admin"];
const MOST_HOURS = 720;
/** @type {Set<string>} */
const revoking = new Set();

/** @param {Page.ViewContext} context */
export function tokensView({ main, signal }) {
  title(t("access.tokens"));
  const content = h("div", {}, loading());
  /** @type {Api.Token[]} */
  let tokens = [];
  const make = button(t("tokens.new"), { kind: "primary", name: "plus", onclick: () => createDialog(load) });
  replace(main, accessHead("#/access"), card(t("access.tokens"), { actions: [make] }, h("p", { class: "muted" }, t("tokens.text")), content));

  async function load() {
    try {
      tokens = await get("/api/tokens", { signal });
      draw();
    } catch (error) {
      if (!isAbort(error)) replace(content, failure(error, load));
    }
  }

  function draw() {
    const shown = tokens.filter((token) => !revoking.has(token.id));
    if (shown.length === 0) return replace(content, empty(t("tokens.none"), t("tokens.none-text")));
    const names = /** @type {const} */ (["tokens.name", "tokens.scope", "tokens.prefix", "tokens.used", "tokens.expires"]);
    const heads = names.map((name) => h("th", { scope: "col" }, t(name)));
    return replace(content, h("div", { class: "scroll", tabindex: 0, role: "group", "aria-label": t("access.tokens") }, h("table", { class: "plain" }, h("thead", {}, h("tr", {}, heads, h("td"))), h("tbody", {}, shown.map(row)))));
  }

  /** @param {Api.Token} token */
  function row(token) {
    const actions = token.is_valid
      ? [
          button(t("tokens.rotate"), { kind: "small", onclick: () => rotateDialog(token, load), "aria-label": `${t("tokens.rotate")}: ${token.name}` }),
          button(t("tokens.revoke"), { kind: "small danger", onclick: () => revoke(token), "aria-label": `${t("tokens.revoke")}: ${token.name}` }),
        ]
      : h("span", { class: "badge disabled" }, t(token.revoked_at ? "tokens.revoked" : "tokens.expired"));
    return h(
      "tr",
      { class: token.is_valid ? "" : "off" },
      h("th", { scope: "row" }, named(token.name), token.id === state.session?.id && h("span", { class: "muted" }, ` · ${t("tokens.you")}`)),
      h("td", {}, t(`scope.${token.scope}`)),
      h("td", {}, h("code", { class: "mono" }, `${token.prefix}…`)),
      h("td", {}, when(token.last_used_at)),
      h("td", {}, token.expires_at ? when(token.expires_at, "date") : h("span", { class: "muted" }, t("limits.never"))),
      h("td", { class: "actions" }, h("div", { class: "row" }, actions)),
    );
  }

  /** @param {Api.Token} token */
  function revoke(token) {
    revoking.add(token.id);
    draw();
    const showAgain = () => {
      revoking.delete(token.id);
      if (!signal.aborted) load();
    };
    const name = `\u2068${token.name}\u2069`;
    undoable({
      words: () => ({ text: t("tokens.revoking", { name }), now: t("tokens.revoke-now"), done: t("tokens.revoke-done", { name }) }),
      undo: showAgain,
      run: async ({ keepalive }) => (await remove(`/api/tokens/${encodeURIComponent(token.id)}`, { keepalive }), showAgain()),
    });
  }
  load();
}

/** @param {() => Promise<void>} done */
function createDialog(done) {
  const name = textInput({ maxlength: 128, required: true, dir: "auto" });
  const scope = select(SCOPES.map((value) => /** @type {const} */ ([value, `${t(`scope.${value}`)} — ${t(`scope.${value}.text`)}`])), "read");
  const expires = h("input", { type: "datetime-local" });
  openDialog({
    title: t("tokens.new"),
    body: [field(t("tokens.name"), name, { hint: t("tokens.name-hint") }), field(t("tokens.scope"), scope), field(t("tokens.expires"), expires, { hint: t("tokens.expires-hint") })],
    actions: [
      { label: t("action.cancel") },
      {
        label: t("tokens.make"),
        run: async () => {
          if (!name.value.trim()) throw wrong(t("key.name-wrong"), name);
          const made = await post("/api/tokens", { name: name.value.trim(), scope: SCOPES[scope.selectedIndex], expires_at: fromLocalInput(expires.value) });
          await done();
          setTimeout(() => secretDialog(t("tokens.made"), t("tokens.once"), made.token));
        },
      },
    ],
  });
}

/**
 * @param {Api.Token} token
 * @param {() => Promise<void>} done
 */
function rotateDialog(token, done) {
  const hours = numberInput({ value: 24, min: 0, max: MOST_HOURS, step: 1, inputmode: "numeric" });
  openDialog({
    title: t("tokens.rotate"),
    body: [h("p", {}, named(token.name)), h("p", {}, t("tokens.rotate-text")), field(t("tokens.overlap"), hours, { unit: (n) => t("tokens.hours", { n }), hint: t("tokens.overlap-hint") })],
    actions: [
      { label: t("action.cancel") },
      {
        label: t("tokens.rotate-do"),
        run: async () => {
          const overlap = Number(hours.value);
          // An empty field is no 0, which would end the old token at once.
          if (hours.value === "" || !Number.isInteger(overlap) || overlap < 0 || overlap > MOST_HOURS) throw wrong(t("tokens.overlap-wrong"), hours);
          const made = await post(query(`/api/tokens/${encodeURIComponent(token.id)}/rotate`, { overlap_hours: overlap }));
          toast(t("tokens.rotated"));
          await done();
          setTimeout(() => secretDialog(t("tokens.made"), t("tokens.once"), made.token));
        },
      },
    ],
  });
}
