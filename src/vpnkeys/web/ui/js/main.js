// The page starts here: it finds the session, and shows the view of the address, or the sign-in form.
import { get } from "./api.js";
import { closeAllDialogs } from "./dialog.js";
import { startLanguage } from "./i18n.js";
import { startLive, stopLive } from "./live.js";
import { otherwise, route, show, stop } from "./router.js";
import { buildShell } from "./shell.js";
import { forgetEverything, on, state } from "./store.js";
import { startTheme } from "./theme.js";
import { startUndo } from "./toast.js";
import { tokensView } from "./views/access/tokens.js";
import { auditView } from "./views/audit.js";
import { backupsView } from "./views/system/backups.js";
import { driftView } from "./views/system/drift.js";
import { keyView } from "./views/keys/key.js";
import { keysView } from "./views/keys/keys.js";
import { nodesView } from "./views/nodes/nodes.js";
import { portsView } from "./views/system/ports.js";
import { signInView } from "./views/signin.js";
import { targetsView } from "./views/system/targets.js";
import { overviewView } from "./views/overview.js";
import { webhooksView } from "./views/access/webhooks.js";

// Holds only that there was a session here: without one, the first request would be refused for nothing.
const WAS_SIGNED_IN = "vpnkeys.signed-in";

route("/keys", keysView);
route("/keys/:id", keyView);
route("/overview", overviewView);
route("/system", driftView);
route("/system/nodes", nodesView);
route("/system/ports", portsView);
route("/system/targets", targetsView);
route("/system/backups", backupsView);
route("/access", tokensView);
route("/access/webhooks", webhooksView);
route("/audit", auditView);
otherwise("#/keys");

/** @type {ReturnType<typeof buildShell> | null} */
let shell = null;

/** @param {Api.Session} session */
function enter(session) {
  state.session = session;
  localStorage.setItem(WAS_SIGNED_IN, "yes");
  startLive();
  draw();
}

function draw({ focus = false } = {}) {
  shell = buildShell({ onlanguage: () => draw(), onleft: left });
  document.body.replaceChildren(...shell.elements);
  shell.markSection();
  show(shell.main, { focus });
}

function left() {
  localStorage.removeItem(WAS_SIGNED_IN);
  stopLive();
  stop();
  closeAllDialogs();
  forgetEverything();
  shell = null;
  signInView(enter, left);
}

async function start() {
  startTheme();
  startLanguage();
  startUndo();
  on("signed-out", left);
  addEventListener("hashchange", () => {
    if (!shell) return;
    closeAllDialogs();
    shell.markSection();
    show(shell.main, { focus: true });
  });
  const session = localStorage.getItem(WAS_SIGNED_IN) ? await get("/ui/session").catch(() => null) : null;
  if (session) enter(session);
  else left();
}

start();
