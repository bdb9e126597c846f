"""How many strong-model calls routing by predicted quality saves, and whether the cascade's threshold keeps its word.

1. 15,361 prompts with whether a weak and a strong model answered right (see cascade_data.py), in two halves by a hash.
   On one half the product learns each model's quality: by intent (the head tells the subjects apart, every answer is a
   judgement of its intent) and, for comparison, by a logistic regression on the prompt's vector. On the other half the
   strong model gets the prompts where it is predicted to gain most.
2. Intents near and far: a head fitted to 10 examples a label answers first; a regression on all examples is asked where
   the first is less sure than the threshold that the product chose on other texts. Both really answer.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"
ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402, TID253 -- arithmetic on arrays is what this file does
from cascade_data import KeptVectors, halves, prompts  # noqa: E402
from cascade_report import drawn, table  # noqa: E402
from delivery import deliver  # noqa: E402
from intents_data import corpora  # noqa: E402
from machine import describe_machine  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.progress import Progress  # noqa: E402

from backends.local.intents.calibration import wilson  # noqa: E402
from backends.local.intents.classifier import Classifier  # noqa: E402
from backends.local.intents.definition import Intent, IntentSet  # noqa: E402
from backends.local.intents.fitting import fit, texts_of  # noqa: E402
from backends.local.intents.logistic import logistic_regression, logits_of  # noqa: E402
from policies.registry import create  # noqa: E402
from policies.types import Constraints, Estimate  # noqa: E402
from router.quality import Quality  # noqa: E402
from router.section_of_routing import CascadeSettings, QualitySettings  # noqa: E402
from router.thresholds import Pair, choose  # noqa: E402

if TYPE_CHECKING:
    from cascade_data import Prompts
    from intents_data import Corpus, Vectors

RESULT = Path(__file__).parent / "results" / "cascade.json"
VARIABLE = "NEARFAR_BENCHMARK_DATA"
PACKAGES = ("torch", "scikit-learn", "numpy", "duckdb")
WEAK, STRONG = "weak", "strong"
GAIN = 0.95  # of the strong model's over the weak one's
PARTS = (0.5, 0.8, GAIN)
STRENGTH, FAR_STRENGTH = 1.0, 10.0
DRAWS = 1000  # of the bootstrap
SHARES = tuple(step / 20 for step in range(21))
SHOTS, JUDGED, SEEDS, REDRAWN = 10, 1000, 5, 100
TARGETS = (0.8, 0.9, 0.95)


class Predicted(NamedTuple):
    """What is expected of both models, one row a prompt."""

    weak: np.ndarray
    strong: np.ndarray


# --- predicting who is right --------------------------------------------------------------------


def by_intent(seen: Prompts, asked: Prompts, vectors: Vectors) -> Predicted:
    """The product's way: intents by its own head, and each answer a judgement of its model for its prompt's intent."""
    classifier = Classifier(fitted(seen.texts, seen.subjects, vectors))
    quality = Quality(QualitySettings(half_life_days=None), lambda _: None, time.time)
    for name, right in ((WEAK, seen.weak), (STRONG, seen.strong)):
        for intent, score in zip(labelled(classifier, vectors.of(seen.texts)), right.tolist(), strict=True):
            quality.judged(name, intent, score)
    wanted = labelled(classifier, vectors.of(asked.texts))
    figures = {(name, intent): quality.of(name, intent).value for name in (WEAK, STRONG) for intent in set(wanted)}
    return Predicted(*(np.array([figures[name, intent] for intent in wanted]) for name in (WEAK, STRONG)))


def by_regression(seen: Prompts, asked: Prompts, vectors: Vectors) -> Predicted:
    """A logistic regression of right against wrong for each model, on the vector alone."""
    return Predicted(*(_regressed(vectors.of(seen.texts), right, vectors.of(asked.texts)) for right in seen[2:]))


def _regressed(seen: np.ndarray, right: np.ndarray, asked: np.ndarray) -> np.ndarray:
    labels = right.astype(int)
    weights = logistic_regression(seen, labels, np.ones(len(labels)), STRENGTH)
    logits = logits_of(asked, weights)
    odds = logits[:, 1] - logits[:, 0] + np.log(right.mean() / (1 - right.mean()))  # it weighs both labels the same
    return 1 / (1 + np.exp(-odds))


def fitted(texts: list[str], labels: list[str], vectors: Vectors) -> Any:
    """The product's head for these texts; a text that has several labels keeps the first."""
    own: dict[str, list[str]] = {}
    for text, label in dict(reversed(list(zip(texts, labels, strict=True)))).items():
        own.setdefault(label, []).append(text)
    wanted = IntentSet(name="benchmark", intents={label: Intent(tuple(own[label])) for label in sorted(own)})
    return fit(wanted, vectors.of(texts_of(wanted))).head


def labelled(classifier: Classifier, vectors: np.ndarray) -> list[str]:
    return [classifier.labels[place] for place in classifier.probabilities(vectors).argmax(axis=1)]


PREDICTORS = {"quality by intent": by_intent, "logistic regression": by_regression}


# --- strong calls against quality ---------------------------------------------------------------


def gains(rank: np.ndarray, weak: np.ndarray, strong: np.ndarray) -> np.ndarray:
    """The part of the strong model's gain that is had with the first n prompts of a ranking, for n from 0 to all."""
    order = np.argsort(-rank, kind="stable")
    return np.concatenate([[0.0], np.cumsum((strong - weak)[order])]) / (strong - weak).sum()


def routed(rank: np.ndarray, held: Prompts, dice: np.random.Generator) -> dict[str, Any]:
    """The curve of a ranking, the calls for 95 % of the gain and the area below, with bootstrap intervals."""
    rank = rank + dice.uniform(0, 1e-9, len(rank))  # equals in no order
    curve = gains(rank, held.weak, held.strong)
    drawn_figures = []
    for _ in range(DRAWS):
        rows = dice.integers(0, len(rank), len(rank))
        again = gains(rank[rows], held.weak[rows], held.strong[rows])
        drawn_figures.append([*(_calls(again, part) for part in PARTS), float(again.mean())])
    *spread, area = (np.percentile(column, [2.5, 97.5]).tolist() for column in zip(*drawn_figures, strict=True))
    quality = held.weak.mean() + curve * (held.strong.mean() - held.weak.mean())
    return {
        "calls_for": {
            f"{part:.0%}": {"mean": _calls(curve, part), "low": low, "high": high}
            for part, (low, high) in zip(PARTS, spread, strict=True)
        },
        "apgr": {"mean": float(curve.mean()), "low": area[0], "high": area[1]},
        "quality_at": [float(quality[round(share * len(rank))]) for share in SHARES],
    }


def _calls(curve: np.ndarray, part: float) -> float:
    """The least share of strong calls with which so much of the gain is had."""
    return float(np.argmax(curve >= part) / (len(curve) - 1))


def by_min_quality(told: Predicted, chosen_by: tuple[Predicted, Prompts], held: Prompts) -> dict[str, Any]:
    """`cheapest` under `min_quality`, decided by the policy itself; the least one that gave 95 % of the gain before.

    Where neither model has the quality asked for, the strong one is the best there is.
    """
    before, known = chosen_by
    for limit in np.unique(before.weak):
        far = before.weak < limit
        if ((known.strong - known.weak)[far]).sum() >= GAIN * (known.strong - known.weak).sum():
            break
    else:
        limit = np.inf
    policy, limits = create("cheapest"), Constraints(min_quality=float(limit))
    first = [policy.decide(slate(*pair), limits).ranked[:1] for pair in zip(*told, strict=True)]
    strong = np.array([ranked != (WEAK,) for ranked in first])
    right = np.where(strong, held.strong, held.weak)
    gain = (right.mean() - held.weak.mean()) / (held.strong.mean() - held.weak.mean())
    return {"min_quality": float(limit), "strong_share": float(strong.mean()), "gain": float(gain)}


def slate(weak: float, strong: float) -> list[Estimate]:
    return [
        Estimate(
            candidate_id=name,
            backend="remote",
            provider=name,
            near=False,
            latency_s=1.0,
            latency_source="prior",
            service_s=1.0,
            cost_usd=cost,
            cost_source="priced",
            quality=quality,
        )
        for name, cost, quality in ((WEAK, 0.001, weak), (STRONG, 0.03, strong))
    ]


def by_threshold(told: Predicted, chosen_by: tuple[Predicted, Prompts], held: Prompts, target: float) -> dict[str, Any]:
    """The cascade: weak answers kept from the threshold on that the product chose elsewhere to hold the target."""
    before, known = chosen_by
    pairs = [Pair(*pair) for pair in zip(before.weak.tolist(), known.weak.tolist(), strict=True)]
    threshold = choose(pairs, CascadeSettings(target_quality=target))
    kept = told.weak >= threshold.value
    return kept_figures(kept, held.weak, held.strong) | {"target": target, "threshold": _finite(threshold.value)}


def kept_figures(kept: np.ndarray, first: np.ndarray, second: np.ndarray) -> dict[str, Any]:
    """Of answers that were kept and others that were asked again: how many, and how right all of them are."""
    right = int(first[kept].sum())
    return {
        "escalated": float(1 - kept.mean()),
        "kept": int(kept.sum()),
        "kept_quality": right / int(kept.sum()) if kept.any() else None,
        "kept_interval": wilson(right, int(kept.sum())) if kept.any() else None,
        "quality": float(np.where(kept, first, second).mean()),
        "first_alone": float(first.mean()),
        "second_alone": float(second.mean()),
    }


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None


def routing(everything: Prompts, vectors: Vectors, seed: int, progress: Progress) -> dict[str, Any]:
    """Every way of choosing on the held-out half; limits are chosen on the other half, out of fold."""
    seen_rows, held_rows = halves(everything.texts, seed)
    seen, held = everything.only(seen_rows), everything.only(held_rows)
    split = halves(seen.texts, seed + 1)
    one, other = (seen.only(rows) for rows in split)
    known = seen.only(np.concatenate(split[::-1]))  # as they are judged below: the others, then the ones
    bar = progress.add_task("predicting", total=len(PREDICTORS) * 3)
    found: dict[str, Any] = {}
    dice = np.random.default_rng(seed)
    for name, predict in PREDICTORS.items():
        told = predict(seen, held, vectors)
        progress.advance(bar)
        folds = []
        for fitting, judging in ((one, other), (other, one)):
            folds.append(predict(fitting, judging, vectors))
            progress.advance(bar)
        before = Predicted(*(np.concatenate(parts) for parts in zip(*folds, strict=True)))
        found[name] = routed(told.strong - told.weak, held, dice) | {
            "by_weak_alone": routed(-told.weak, held, dice)["calls_for"],
            "min_quality": by_min_quality(told, (before, known), held),
            "cascade": [by_threshold(told, (before, known), held, target) for target in TARGETS],
        }
    found["random"] = routed(dice.uniform(size=len(held.weak)), held, dice)
    found["oracle"] = routed(held.strong - held.weak, held, dice)
    return {"seen": len(seen.texts), "held_out": len(held.texts), "weak": float(held.weak.mean()),
            "strong": float(held.strong.mean()), "ways": found}  # fmt: skip


# --- intents, near and far ----------------------------------------------------------------------


def near_and_far(corpus: Corpus, vectors: Vectors, seeds: int, progress: Progress) -> dict[str, Any]:
    """A head of few examples, then a regression on all, with thresholds chosen in two ways.

    By answers to texts of the same kind as those to come: drawn with replacement from the test texts, which are then
    the whole of the traffic, so what a threshold holds there is known. And by answers to texts of the training set.
    """
    dice = np.random.default_rng(0)
    places = dice.permutation(len(corpus.train.texts))
    judged, rest = places[:JUDGED], places[JUDGED:]
    bar = progress.add_task(f"near and far: {corpus.name}", total=seeds + 1)
    weights = logistic_regression(
        vectors.of([corpus.train.texts[row] for row in rest]),
        corpus.train.labels[rest],
        np.ones(len(rest)),
        FAR_STRENGTH,
    )  # of it only the answer is asked, so it is not calibrated: that would take minutes
    far = (logits_of(vectors.of(corpus.test.texts), weights).argmax(axis=1) == corpus.test.labels).astype(float)
    progress.advance(bar)
    alike, unlike, curves = [], [], []
    for seed in range(seeds):
        few = np.random.default_rng(seed).permutation(rest)
        few = np.concatenate([few[corpus.train.labels[few] == k][:SHOTS] for k in range(len(corpus.labels))])
        tried, tried_sure = answers(corpus, vectors, few, [corpus.train.texts[at] for at in judged])
        labels, sure = answers(corpus, vectors, few, corpus.test.texts)
        near = (labels == corpus.test.labels).astype(float)
        curves.append(_curve(sure, near, far))
        unlike.append(_thresholds(pairs_of(tried_sure, tried == corpus.train.labels[judged]), sure, near, far))
        for _ in range(REDRAWN):
            rows = dice.integers(0, len(near), JUDGED)
            alike.append(_thresholds(pairs_of(sure[rows], near[rows]), sure, near, far))
        progress.advance(bar)
    return {"labels": len(corpus.labels), "test_texts": len(far), "judged": JUDGED, "shots": SHOTS,
            "far_examples": len(rest), "near": float(np.mean([curve[0] for curve in curves])),
            "far": float(far.mean()), "curves": curves,
            "alike": together(alike), "unlike": together(unlike)}  # fmt: skip


def together(choices: list[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """What many choices of a threshold came to, one row a target: means, 5th and 95th percentiles, and how many hold.

    A choice that keeps no answer breaks no promise.
    """
    found = []
    for of_target in zip(*choices, strict=True):
        target = of_target[0]["target"]
        kept, thresholds = (
            [one[name] for one in of_target if one[name] is not None] for name in ("kept_quality", "threshold")
        )
        means = ("escalated", "quality", "first_alone", "second_alone")
        found.append(
            {name: float(np.mean([one[name] for one in of_target])) for name in means}
            | {
                "target": target,
                "choices": len(of_target),
                "hold": len(of_target) - sum(quality < target for quality in kept),
                "kept_quality": np.percentile(kept, [5, 95]).tolist() if kept else None,
                "threshold": np.percentile(thresholds, [5, 95]).tolist() if thresholds else None,
            }
        )
    return found


def pairs_of(sure: np.ndarray, right: np.ndarray) -> list[Pair]:
    return [Pair(*pair) for pair in zip(sure.tolist(), np.asarray(right, dtype=float).tolist(), strict=True)]


def answers(corpus: Corpus, vectors: Vectors, rows: np.ndarray, texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """The labels that a head fitted to these rows gives texts, and how sure it is of each; -1 is `unknown`."""
    own = [corpus.train.texts[row] for row in rows]
    classifier = Classifier(fitted(own, [corpus.labels[corpus.train.labels[row]] for row in rows], vectors))
    probabilities = classifier.probabilities(vectors.of(texts))
    number = {label: place for place, label in enumerate(corpus.labels)}
    columns = np.array([number.get(label, -1) for label in classifier.labels])
    return columns[probabilities.argmax(axis=1)], probabilities.max(axis=1)


def _thresholds(pairs: list[Pair], sure: np.ndarray, near: np.ndarray, far: np.ndarray) -> list[dict[str, Any]]:
    found = []
    for target in TARGETS:
        threshold = choose(pairs, CascadeSettings(target_quality=target))
        figures = kept_figures(sure >= threshold.value, near, far)
        found.append(figures | {"target": target, "threshold": _finite(threshold.value)})
    return found


def _curve(sure: np.ndarray, near: np.ndarray, far: np.ndarray) -> list[float]:
    """The accuracy when the least sure are asked again, by their share."""
    order = np.argsort(sure, kind="stable")
    gained = np.concatenate([[0.0], np.cumsum((far - near)[order])]) / len(near)
    return [float(near.mean() + gained[round(share * len(near))]) for share in SHARES]


# --- the command --------------------------------------------------------------------------------


def run(folder: Path, cache: Path | None, seed: int, seeds: int) -> dict[str, Any]:
    """Measure everything; the report."""
    began = time.monotonic()
    with Progress(console=Console(stderr=True)) as progress:
        vectors, everything = KeptVectors(cache), prompts(folder)
        vectors.learn(everything.texts, progress, "prompts")
        first = routing(everything, vectors, seed, progress)
        second = {}
        for corpus in corpora(folder):
            vectors.learn(corpus.train.texts + corpus.test.texts, progress, corpus.name)
            second[corpus.name] = near_and_far(corpus, vectors, seeds, progress)
    return {
        "question": (__doc__ or "").splitlines()[0],
        "command": " ".join(
            ["python", *(word if word == sys.argv[0] or "/" not in word else "PATH" for word in sys.argv)]
        ),
        "machine": describe_machine(PACKAGES),
        "seconds": time.monotonic() - began,
        "seed": seed,
        "shares": SHARES,
        "routing": first,
        "near_and_far": second,
    }


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", type=Path, default=os.environ.get(VARIABLE), help=f"the data's folder (or ${VARIABLE})"
    )
    parser.add_argument("--cache", type=Path, help="a folder, outside the project, to keep vectors in")
    parser.add_argument("--seed", type=int, default=0, help="of the halves")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="draws of near examples")
    parser.add_argument("--svg", type=Path, help="draw the curves into this file")
    parser.add_argument("--json", nargs="?", const="-", metavar="FILE", help="write the report; - is standard output")
    parser.add_argument("--save", action="store_true", help=f"write the report to {RESULT.relative_to(ROOT)}, drawn")
    given = parser.parse_args()
    if given.data is None:
        parser.error(f"--data DIR is needed, or ${VARIABLE}")
    return given


def main() -> int:
    given = parsed()
    report = run(Path(given.data), given.cache, given.seed, given.seeds)
    deliver(report, table(report), to=given.json, keep=RESULT if given.save else None)
    for file in (given.svg, RESULT.with_suffix(".svg") if given.save else None):
        if file is not None:
            file.write_text(drawn(report), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
