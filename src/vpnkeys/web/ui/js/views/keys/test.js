// A test of the key: a real client on the server connects by its link.
import { keyPath, post } from "../../api.js";
import { openDialog } from "../../dialog.js";
import { h, replace } from "../../dom.js";
import { describe, translated as inRussian } from "../../errors.js";
import { icon } from "../../icons.js";
import { currentLanguage, has, number, t } from "../../i18n.js";
import { button, card } from "../../parts.js";
import { keyOf, may } from "../../store.js";
import { isWaiting, term } from "./term.js";

/** @param {string} id */
export function testCard(id) {
  if (!may("keys")) return null;
  const result = h("div", { role: "status", class: "test-result" }, h("p", { class: "muted" }, t("test.text")));
  async function run() {
    replace(result, h("p", { class: "muted" }, t("test.running")));
    try {
      replace(result, shown(await post(keyPath(id, "/test"))));
    } catch (error) {
      replace(result, h("div", { class: "problem" }, describe(error)));
    }
  }
  // The bytes of a test are the key's first ones where no customer has been there before.
  function begin() {
    const key = keyOf(id);
    if (!key || !isWaiting(key)) return run();
    openDialog({
      title: t("test.begins"),
      body: [h("p", {}, t("test.begins-text", { term: term(key.expires_after_s ?? 0) }))],
      // Not waited for: the result is shown in the card.
      actions: [{ label: t("action.cancel") }, { label: t("test.do"), run: () => void run() }],
    });
    return undefined;
  }
  return card(t("test.title"), { actions: [button(t("test.do"), { name: "pulse", onclick: begin })] }, result);
}

/** @param {Api.KeyTest} test */
function shown(test) {
  const ms = (/** @type {number | null} */ value) => (value === null ? "—" : t("unit.ms", { n: number(value) }));
  const message = `test.code.${test.code}`;
  const translated = has(message) ? t(message) : inRussian(`test.${test.code}`);
  /** @type {[Page.MessageName, string][]} */
  const facts = [
    ["test.handshake", ms(test.handshake_ms)],
    ["test.first-byte", ms(test.first_byte_ms)],
    ["test.counted", test.works ? t(test.counted ? "yes" : "no") : "—"],
  ];
  return [
    h("p", { class: `verdict ${test.works ? "good" : "bad"}` }, icon(test.works ? "check" : "warn"), h("b", {}, t(test.works ? "test.works" : "test.fails"))),
    h("p", { lang: translated || currentLanguage() === "en" ? null : "en" }, translated ?? test.detail),
    test.works && h("dl", { class: "facts" }, facts.map(([label, value]) => h("div", {}, h("dt", {}, t(label)), h("dd", {}, value)))),
  ];
}
