// Icons are drawn on a grid of 16 with a stroke of 1.5. They inherit the colour and are decoration: words say the same.
import { svg } from "./dom.js";

export const PATHS = {
  key: "M10.2 9.3a3.6 3.6 0 1 0-3.5-2.7L2 11.3V14h2.7v-1.6h1.6v-1.6h1.6l1.1-1.1a3.6 3.6 0 0 0 1.2-.4ZM11 5h.01",
  chart: "M2 13.5h12M4 11V7.5M8 11V3.5M12 11V6",
  system: "M2.5 3h11v4h-11zM2.5 9h11v4h-11zM5 5h.01M5 11h.01",
  access: "M8 2 3 4v3.6c0 3 2.1 5.2 5 6.4 2.9-1.2 5-3.4 5-6.4V4ZM6 8l1.5 1.5L10.2 6.6",
  audit: "M4 2.5h8v11H4zM6.2 5.5h3.6M6.2 8h3.6M6.2 10.5h2",
  plus: "M8 3v10M3 8h10",
  search: "M7 11.5a4.5 4.5 0 1 0 0-9 4.5 4.5 0 0 0 0 9ZM10.4 10.4l3.1 3.1",
  copy: "M5.5 5.5h8v8h-8zM3 10.5H2.5v-8h8V3",
  qr: "M2.5 2.5h4v4h-4zM9.5 2.5h4v4h-4zM2.5 9.5h4v4h-4zM9.5 9.5h1.5v1.5H9.5zM12.5 12.5h1v1h-1zM13.5 9.5h-.01M9.5 13.5h.01",
  download: "M8 2.5v7.5M4.8 7 8 10.2 11.2 7M2.5 13.5h11",
  edit: "M10.8 2.8l2.4 2.4-7.7 7.7-3 .6.6-3Z",
  trash: "M2.5 4.5h11M6 4.5v-2h4v2M4 4.5l.7 9h6.6l.7-9M6.7 7v4M9.3 7v4",
  power: "M8 2v5.5M4.6 4.2a5 5 0 1 0 6.8 0",
  clock: "M8 14A6 6 0 1 0 8 2a6 6 0 0 0 0 12ZM8 4.8V8l2.2 1.6",
  refresh: "M13.2 6.5A5.5 5.5 0 0 0 3.4 5M3 2.2V5.2h3M2.8 9.5A5.5 5.5 0 0 0 12.6 11M13 13.8v-3h-3",
  check: "M3 8.4l3.2 3.2L13 4.8",
  close: "M4 4l8 8M12 4l-8 8",
  warn: "M8 2.2 14.4 13.4H1.6ZM8 6.2v3.4M8 11.5h.01",
  back: "M9.5 3.5 5 8l4.5 4.5",
  next: "M6.5 3.5 11 8l-4.5 4.5",
  up: "M8 13V3.5M4.2 7 8 3.2 11.8 7",
  down: "M8 3v9.5M4.2 9 8 12.8 11.8 9",
  sun: "M8 10.8a2.8 2.8 0 1 0 0-5.6 2.8 2.8 0 0 0 0 5.6ZM8 1.5V3M8 13v1.5M1.5 8H3M13 8h1.5M3.4 3.4l1 1M11.6 11.6l1 1M12.6 3.4l-1 1M4.4 11.6l-1 1",
  moon: "M13.3 9.7A5.6 5.6 0 0 1 6.3 2.7a5.6 5.6 0 1 0 7 7Z",
  auto: "M8 14A6 6 0 1 0 8 2a6 6 0 0 0 0 12ZM8 2v12M10.5 3v10",
  out: "M6.5 2.5h-4v11h4M6.5 8h7M10.8 5.2 13.6 8l-2.8 2.8",
  pulse: "M1.5 8.5h3L6.2 4l3 8 1.8-4.5h3.5",
  link: "M6.8 9.2l2.4-2.4M7 5l1.6-1.6a2.8 2.8 0 0 1 4 4L11 9M9 11l-1.6 1.6a2.8 2.8 0 0 1-4-4L5 7",
  hook: "M5 6.5a3 3 0 1 1 4.6 2.6M5.2 6.6 3.4 10M9.8 9.2h1.6a2.3 2.3 0 1 1-2.2 3M3.6 9.6a2.3 2.3 0 1 0 2.6 2.6h3",
};

/**
 * Returns an icon.
 * @param {Page.IconName} name
 */
export function icon(name) {
  return svg(
    "svg",
    { class: "icon", viewBox: "0 0 16 16", width: 16, height: 16, "aria-hidden": "true", focusable: "false" },
    svg("path", { d: PATHS[name] }),
  );
}

/** Returns the product's mark, a key on a square, which is also the page's favicon. */
export function mark() {
  return svg(
    "svg",
    { class: "mark", viewBox: "0 0 24 24", width: 24, height: 24, "aria-hidden": "true", focusable: "false" },
    svg("rect", { width: 24, height: 24, rx: 6 }),
    svg("path", { d: "M9.5 12h8.5M14 12v3.5M18 12v2.5M9.5 12a2.75 2.75 0 1 1-5.5 0 2.75 2.75 0 0 1 5.5 0Z", class: "mark-line" }),
  );
}
