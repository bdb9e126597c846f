// Which pages there are. Each is a module of its own, loaded when it is first opened; `default` is its component.

/** @type {{name: string, title: string, group: string}[]} */
export const PAGES = [
  { name: "chat", title: "Chat", group: "Try" },
  { name: "images", title: "Images", group: "Try" },
  { name: "playground", title: "Playground", group: "Try" },
  { name: "compare", title: "Compare", group: "Try" },
  { name: "decisions", title: "Decisions", group: "Understand" },
  { name: "dashboard", title: "Dashboard", group: "Understand" },
  { name: "replay", title: "Replay", group: "Understand" },
  { name: "models", title: "Models", group: "Run" },
  { name: "system", title: "System Health", group: "Run" },
  { name: "keys", title: "Keys", group: "Run" },
];
