// Checks the JavaScript that the server serves and that this project wrote; the vendored files are others'.
import js from "@eslint/js";
import globals from "globals";

export default [
  {
    ...js.configs.recommended,
    languageOptions: { ecmaVersion: 2022, sourceType: "module", globals: globals.browser },
    linterOptions: { reportUnusedDisableDirectives: "error" },
  },
  { files: ["**/docs/page.js"], languageOptions: { globals: { SwaggerUIBundle: "readonly" } } },
];
