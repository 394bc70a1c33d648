// The page begins here: who is signed in, which view is asked for, and what changes both.
import { get } from "./api.js";
import { closeAllDialogs } from "./dialog.js";
import { startLanguage } from "./i18n.js";
import { startLive, stopLive } from "./live.js";
import { otherwise, route, show, stop } from "./router.js";
import { buildShell } from "./shell.js";
import { forgetEverything, on, state } from "./store.js";
import { startTheme } from "./theme.js";
import { startUndo } from "./toast.js";
import { accessView } from "./views/access.js";
import { auditView } from "./views/audit.js";
import { backupsView } from "./views/backups.js";
import { driftView } from "./views/drift.js";
import { keyView } from "./views/key.js";
import { keysView } from "./views/keys.js";
import { portsView } from "./views/ports.js";
import { signInView } from "./views/signin.js";
import { targetsView } from "./views/targets.js";
import { trafficView } from "./views/traffic.js";
import { webhooksView } from "./views/webhooks.js";

// Says only that a session was begun here: whoever has none is not asked about it in vain.
const WAS_SIGNED_IN = "vpnkeys.signed-in";

route("/keys", keysView);
route("/keys/:id", keyView);
route("/traffic", trafficView);
route("/system", driftView);
route("/system/ports", portsView);
route("/system/targets", targetsView);
route("/system/backups", backupsView);
route("/access", accessView);
route("/access/webhooks", webhooksView);
route("/audit", auditView);
otherwise("#/keys");

let shell = null;

function enter(session) {
  state.session = session;
  localStorage.setItem(WAS_SIGNED_IN, "yes");
  startLive();
  draw();
}

function draw({ focus = false } = {}) {
  shell = buildShell({ onlanguage: () => draw(), onleft: left });
  document.body.replaceChildren(...shell.elements);
  shell.showPlace();
  show(shell.main, { focus });
}

function left() {
  localStorage.removeItem(WAS_SIGNED_IN);
  stopLive();
  stop();
  closeAllDialogs();
  forgetEverything();
  shell = null;
  signInView({ enter, again: left });
}

async function start() {
  startTheme();
  startLanguage();
  startUndo();
  on("signed-out", left);
  addEventListener("hashchange", () => {
    if (!shell) return;
    closeAllDialogs();
    shell.showPlace();
    show(shell.main, { focus: true });
  });
  const session = localStorage.getItem(WAS_SIGNED_IN) ? await get("/ui/session").catch(() => null) : null;
  if (session) enter(session);
  else left();
}

start();
