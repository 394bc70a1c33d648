// Shapes that several modules of the dashboard share. What the API answers is in api.d.ts.

declare namespace Page {
  // What h() accepts as a child; `false`, `null` and `undefined` add nothing.
  type Child = Node | string | number | false | null | undefined | readonly Child[];

  type Handlers = { [Name in keyof GlobalEventHandlersEventMap as `on${Name}`]?: (event: GlobalEventHandlersEventMap[Name]) => unknown };
  type Property = string | number | boolean | null | undefined | Record<string, string> | ((event: never) => unknown);

  interface Props extends Handlers {
    data?: Record<string, string>;
    style?: Record<string, string>;
    [attribute: string]: Property;
  }

  type IconName = keyof typeof import("../ui/js/icons.js").PATHS;
  type MessageName = keyof typeof import("../ui/i18n/en.js").default;

  // A text, or one text for each plural category of the language.
  type Message = string | Partial<Record<Intl.LDMLPluralRule, string>>;
  type Translation = Record<MessageName, Message>;
  type Values = Record<string, string | number>;

  type Topic = "keys" | "traffic" | "health" | "live" | "signed-out";
  type TopicList = Topic | `${Topic} ${Topic}`;

  // What is known of one key's traffic; its rate is in bytes per second.
  interface Usage {
    total: number;
    inWindow: number;
    left: number | null;
    resetsAt: string | null;
    devices: number | null;
    lastSeen: string | null;
    rate: number;
  }

  interface State {
    session: Api.Session | null;
    keys: Api.Key[] | null;
    health: Api.Health | null;
    usage: Map<string, Usage>;
    totalRate: number;
    live: "connecting" | "open" | "lost";
    leaving: Set<string>;
  }

  interface RequestOptions {
    keepalive?: boolean;
    signal?: AbortSignal;
  }

  interface ViewContext {
    main: HTMLElement;
    params: Record<string, string>;
    signal: AbortSignal;
  }

  // What an error may carry for the reader: a translated text, a code to search for, the field to correct.
  interface Problem {
    text?: string;
    code?: string;
    message?: string;
    status?: number;
    field?: HTMLElement;
  }

  interface DialogAction {
    label: string;
    kind?: string;
    icon?: IconName;
    run?: () => unknown;
  }

  // `run` is called when the time to undo is over; `keepalive` is true when the page is being left.
  // `text` says that it is about to be done, `now` is the button that does it at once, `done` says that it is done.
  interface UndoableAction {
    words: () => { text: string; now: string; done: string };
    undo: () => void;
    run: (options: { keepalive: boolean }) => Promise<unknown>;
  }

  type Field = HTMLInputElement | HTMLSelectElement | HTMLTextAreaElement;
  type Choice = readonly [value: string, text: string];
  type UsageBar = HTMLElement & { show: (used: number, limit: number | null) => void };

  // A span of the chart: the start of every hour or day in it, in Unix seconds.
  interface Span {
    step: Api.Step;
    from: string;
    times: number[];
  }

  interface Series {
    times: number[];
    down: number[];
    up: number[];
  }
}

// The type that a table of routes has for a path, with or without a query.
type RouteType<Table, Path extends string> = Path extends `${infer Bare}?${string}` ? (Bare extends keyof Table ? Table[Bare] : never) : Path extends keyof Table ? Table[Path] : never;
// The routes of a table, and the same with a query behind them.
type RoutePath<Table> = (keyof Table & string) | `${keyof Table & string}?${string}`;

// From swagger-ui-bundle.js, which the page of the API's description loads first.
declare function SwaggerUIBundle(options: Record<string, string | boolean | null>): void;
