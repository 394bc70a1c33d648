// Who are you? The token goes to the server once, and is forgotten here; what stays is a cookie no script can read.
import { post } from "../api.js";
import { describe } from "../errors.js";
import { h, replace } from "../dom.js";
import { mark } from "../icons.js";
import { chooseLanguage, currentLanguage, t } from "../i18n.js";
import { field, textInput } from "../form.js";
import { title } from "../parts.js";
import { themeButton } from "../shell.js";

export function signInView({ enter, again }) {
  title(t("session.title"));
  const token = textInput({ type: "password", name: "token", autocomplete: "off", autocapitalize: "off", required: true });
  const problem = h("div", { class: "problem", role: "alert", hidden: true });
  const submit = h("button", { type: "submit", class: "button primary wide" }, t("session.in"));

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
      const wrong = error.status === 401 || error.status === 400;
      replace(problem, describe(wrong ? { text: t("session.wrong"), code: error.code } : error));
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
      h("div", { class: "row sign-in-tools" }, otherLanguage(again), themeButton()),
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

function otherLanguage(again) {
  const other = currentLanguage() === "en" ? "ru" : "en";
  const change = () => {
    chooseLanguage(other);
    again();
  };
  return h("button", { type: "button", class: "button small quiet", lang: other, onclick: change }, { en: "English", ru: "Русский" }[other]);
}
