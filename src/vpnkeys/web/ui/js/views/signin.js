// The sign-in form. The token is sent once and not kept; what remains is a cookie that no script can read.
import { ApiError, post } from "../api.js";
import { describe } from "../errors.js";
import { h, replace } from "../dom.js";
import { mark } from "../icons.js";
import { chooseLanguage, t } from "../i18n.js";
import { field, textInput } from "../form.js";
import { title } from "../parts.js";
import { otherLanguage, themeButton } from "../shell.js";

/**
 * Shows the form in place of everything else.
 * @param {(session: Api.Session) => void} enter is called with the new session
 * @param {() => void} again shows the form once more, in another language
 */
export function signInView(enter, again) {
  title(t("session.title"));
  const token = textInput({ type: "password", name: "token", autocomplete: "off", autocapitalize: "off", required: true });
  const problem = h("div", { class: "problem", role: "alert", hidden: true });
  const submit = h("button", { type: "submit", class: "button primary wide" }, t("session.in"));

  /** @param {Event} event */
  async function signIn(event) {
    event.preventDefault();
    if (submit.getAttribute("aria-busy") === "true") return;
    problem.hidden = true;
    submit.setAttribute("aria-busy", "true");
    try {
      const session = await post("/ui/session", { token: token.value.trim() });
      token.value = "";
      enter(session);
      document.querySelector("h1")?.focus();
    } catch (error) {
      const isWrong = error instanceof ApiError && (error.status === 401 || error.status === 400);
      replace(problem, describe(isWrong ? { text: t("session.wrong"), code: error.code } : error));
      problem.hidden = false;
      token.select();
      token.focus();
    } finally {
      submit.removeAttribute("aria-busy");
    }
  }

  document.body.replaceChildren(
    h(
      "main",
      { class: "sign-in" },
      h("div", { class: "row sign-in-tools" }, languageButton(again), themeButton()),
      h(
        "form",
        { class: "card", onsubmit: signIn, novalidate: true },
        mark(),
        h("h1", {}, t("session.title")),
        field(t("session.token"), token, { hint: t("session.hint") }),
        problem,
        submit,
      ),
    ),
  );
  token.focus();
}

/** @param {() => void} again */
function languageButton(again) {
  const { next, name } = otherLanguage();
  const change = () => {
    chooseLanguage(next);
    again();
  };
  return h("button", { type: "button", class: "button small quiet", lang: next, onclick: change }, name);
}
