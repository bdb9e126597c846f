// What was asked, spent, saved and waited for: the questions of `GET /v1/analytics`, over one range of time.
import { html, useState } from "/ui/vendor/htm/standalone.module.js";
import { useNow } from "/ui/pages/dashboard/asking.js";
import { AnyQuestion } from "/ui/pages/dashboard/any.js";
import { Budgets } from "/ui/pages/dashboard/budgets.js";
import { Coverage } from "/ui/pages/dashboard/coverage.js";
import { BreakEven, Models, Regret, Savings } from "/ui/pages/dashboard/money.js";
import { OverTime } from "/ui/pages/dashboard/overtime.js";
import { RangeBar, remembered } from "/ui/pages/dashboard/range.js";
import { Summary } from "/ui/pages/dashboard/summary.js";

export default function Dashboard() {
  const [ranges, go] = useState([remembered()]);
  const [now, look] = useNow();
  const range = ranges[ranges.length - 1];
  const looking = { range, now };
  const zoom = (/** @type {number} */ from, /** @type {number} */ to) =>
    go([...ranges, { name: "custom", since: Math.floor(from * 1000), until: Math.ceil(to * 1000) }]);
  const change = (/** @type {import("/ui/pages/dashboard/range.js").Range[]} */ chosen) => { look(); go(chosen); };
  return html`<${RangeBar} ranges=${ranges} onChange=${change} onRefresh=${look} />
    <div class="awaits-tiles"><${Summary} looking=${looking} /></div>
    <div class="awaits-charts"><${OverTime} looking=${looking} onZoom=${zoom} /></div>
    <${Coverage} looking=${looking} onZoom=${zoom} />
    <${Savings} looking=${looking} /><${Budgets} looking=${looking} onZoom=${zoom} />
    <${Models} looking=${looking} /><${Regret} looking=${looking} /><${BreakEven} looking=${looking} />
    <${AnyQuestion} looking=${looking} />`;
}
