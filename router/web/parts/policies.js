// The policies that requests may name, in the order readers should meet them; a test holds them to the server's own.

export const POLICIES = ["balanced", "cheapest", "fastest", "slo", "budget", "local-first", "remote-first", "local-only", "cascade"];
