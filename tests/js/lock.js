// Takes out of the lock file what is no part of the promise: where the authors of the tools ask for money.
// `npm run lock` writes the file for new versions; the digests in it stay as npm wrote them.
import { readFileSync, writeFileSync } from "node:fs";

const FILE = new URL("package-lock.json", import.meta.url);
const lock = JSON.parse(readFileSync(FILE, "utf8"));
for (const entry of Object.values(lock.packages)) delete entry.funding;
writeFileSync(FILE, `${JSON.stringify(lock, null, 2)}\n`);
