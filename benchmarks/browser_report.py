"""What `browser_tier.py` found, as it stands in the README."""

from __future__ import annotations

from typing import Any

from delivery import rule


def table(report: dict[str, Any]) -> str:
    """The report as it stands in the README."""
    first, usable = report["first_page"], report["first_page"]["usable_ms"]
    opened = (
        f"Chromium {report['chromium']}. The first page, {report['loads']} fresh loads: usable after "
        f"{usable['p50']:.0f} ms (p50), {usable['p95']:.0f} ms (p95), {first['slowest_ms']:.0f} ms (slowest); "
        f"{first['most_bytes'] / 1000:.0f} kB in {first['most_requests']} answers."
    )
    head = "| visit | the page, bytes | model | device, threads | bytes | loaded in s | cosine to the server |"
    lines = [opened, "", head, rule(head)]
    for visit, told in report["visits"].items():
        for model in told["models"].values():
            parity = "" if model["parity"] is None else f"{model['parity']:.4f}"
            lines.append(
                f"| {visit} | {told['page_bytes']:,} | {model['model']} | {model['device']}, {model['threads']} "
                f"| {model['bytes']:,} | {model['load_ms'] / 1000:.2f} | {parity} |"
            )
    head = "| what | page: least | p50 | p95 ms | server: least | p50 | p95 ms | **page / server** | |"
    lines += ["", head, rule(head)]
    for name, told in report["texts"].items():
        what = f"vector of a {name} text, {told['tokens']} tokens"
        lines.append(row(what, told, f"cosine {told['cosine']:.4f} at least"))
    intent, speech = report["intent"], report["speech"]
    lines.append(row("intent of the short text", intent, "the same label" if intent["same_label"] else "other labels"))
    factors = speech["real_time_factor"]
    lines.append(
        row(
            f"{speech['seconds']:.0f} s of speech",
            speech,
            f"real-time factor {factors['page']:.2f}, the server's {factors['server']:.2f}",
        )
    )
    return "\n".join(lines)


def row(what: str, told: dict[str, Any], beside: str) -> str:
    """One line of what was compared."""
    sides = " | ".join(f"{told[side][of]:.1f}" for side in ("page_ms", "server_ms") for of in ("least", "p50", "p95"))
    return f"| {what} | {sides} | **{told['ratio']:.2f}** | {beside} |"
