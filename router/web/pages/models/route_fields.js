// What a route may say: which requests it takes (`match`), and what it gives them (`use`).

/** @type {import("/ui/pages/models/fields.js").Spec[]} */
export const SPECS = [
  { name: "name", label: "Name" },
  { name: "match.task", label: "Takes the tasks, one a line", kind: "list" },
  { name: "match.model", label: "Takes models asked for as, one a line", kind: "list", says: "A model, an alias or auto; * and ? stand for anything." },
  { name: "match.tenant", label: "Takes the keys or tenants, one a line", kind: "list" },
  { name: "match.tag", label: "Takes the tags, one a line", kind: "list" },
  { name: "match.intent", label: "Takes the intents, one a line", kind: "list" },
  { name: "match.min_input_tokens", label: "Takes inputs from, in tokens", kind: "number", min: 0 },
  { name: "match.max_input_tokens", label: "Takes inputs up to, in tokens", kind: "number", min: 0 },
  { name: "match.hours", label: "Takes requests between", says: "Such as 09:00-18:00." },
  { name: "match.days", label: "Takes requests on, one a line", kind: "list", says: "mon, tue, wed, thu, fri, sat, sun" },
  { name: "match.zone", label: "Time zone", says: "Empty: UTC." },
  { name: "use.alias", label: "Gives the alias" },
  { name: "use.models", label: "Gives the models, one a line", kind: "list" },
  { name: "use.backend", label: "Gives the side", kind: "choice", options: [["", "any"], ["local", "near"], ["remote", "far"], ["fake", "fake"]] },
  { name: "use.only", label: "Gives only the providers, one a line", kind: "list" },
  { name: "use.ignore", label: "Never gives the providers, one a line", kind: "list" },
  { name: "use.order", label: "Gives the providers in the order, one a line", kind: "list" },
  { name: "use.policy", label: "Policy" },
  { name: "use.max_latency_ms", label: "At most, in ms", kind: "number", min: 0 },
  { name: "use.deadline_ms", label: "Deadline, in ms", kind: "number", min: 0 },
  { name: "use.max_cost_usd", label: "At most, in US dollars", kind: "number", min: 0 },
  { name: "use.min_quality", label: "Quality at least", kind: "number", min: 0, max: 1 },
  { name: "use.private", label: "Never leaves this machine", kind: "flag" },
];
