"""How well are intents told apart, from how many examples? Label names, nearest centroid and our head, on public data.

Reads CLINC150 (clinc150_full.json of clinc/oos-eval, CC BY 3.0; Larson et al., EMNLP 2019) and BANKING77
(banking77_train.csv, banking77_test.csv of PolyAI task-specific-datasets, CC BY 4.0; Casanueva et al., 2020).
Every text is embedded once, by the embedder that serves requests, on one thread.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"
ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402, TID253 -- arithmetic on arrays is what this file does
from delivery import deliver, rule  # noqa: E402
from intents_data import Corpus, Vectors, corpora  # noqa: E402
from machine import describe_machine  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.progress import Progress  # noqa: E402

from backends.local.intents.calibration import auroc, calibration_error, free_energy, log_softmax, wilson  # noqa: E402
from backends.local.intents.classifier import Classifier, unpacked  # noqa: E402
from backends.local.intents.definition import Intent, IntentSet, builtin  # noqa: E402
from backends.local.intents.fitting import fit, texts_of  # noqa: E402
from backends.local.intents.logistic import Rows, logistic_regression, logits_of  # noqa: E402

if TYPE_CHECKING:
    from backends.local.intents.fitting import Fitted

RESULT = Path(__file__).parent / "results" / "intents.json"
VARIABLE = "NEARFAR_BENCHMARK_DATA"
PACKAGES = ("torch", "onnxruntime", "scikit-learn", "numpy")
SHOTS = (1, 2, 3, 5, 10, 100)
SEEDS = 5
STRENGTH = 10.0
ACCURACY_COLUMNS = (
    "| examples | centroid | logistic | **head** | cross-validated | AUROC centroid | AUROC head "
    "| ECE before | ECE after | fit s |"
)
UNKNOWN_COLUMNS = (
    "| data, examples | kept / found | kept / found, told | max probability | free energy | cosine | **likeness** |"
)
T95 = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 7: 2.447, 8: 2.365}  # Student's t, by number of draws


# --- the methods --------------------------------------------------------------------------------


class Trial:
    """One data set with one draw of examples."""

    def __init__(self, corpus: Corpus, vectors: Vectors, shots: int, seed: int) -> None:
        dice = np.random.default_rng(seed)
        places = [np.flatnonzero(corpus.train.labels == k) for k in range(len(corpus.labels))]
        chosen = np.concatenate([dice.permutation(own)[:shots] for own in places])
        self.corpus, self.vectors, self.shots = corpus, vectors, shots
        self.labels = corpus.train.labels[chosen]
        self.texts = [corpus.train.texts[place] for place in chosen]
        self.known, self.strangers = vectors.of(corpus.test.texts), vectors.of(corpus.strangers)
        self.words = vectors.of(spoken(corpus))

    def figures(self) -> dict[str, dict[str, float]]:
        """What every method measures on the test texts."""
        found = {"centroid": self._centroid(), "logistic": self._logistic(words=False)}
        return found | ({"head": self._logistic(words=True)} if self.shots == 1 else self._head())

    def zero_shot(self) -> dict[str, float]:
        """The label whose name is nearest."""
        return self._told(self.known @ self.words.T, self.strangers @ self.words.T)

    def _centroid(self) -> dict[str, float]:
        examples = self.vectors.of(self.texts)
        centres = np.stack([examples[self.labels == k].mean(axis=0) for k in range(len(self.corpus.labels))])
        centres /= np.linalg.norm(centres, axis=1, keepdims=True)
        return self._told(self.known @ centres.T, self.strangers @ centres.T)

    def _logistic(self, *, words: bool) -> dict[str, float]:
        """The regression alone, at a fixed strength, nothing calibrated: all that one example a label allows."""
        own = np.arange(len(self.corpus.labels))
        rows = Rows(self.vectors.of(self.texts), self.labels, self.words, own, np.ones(len(own)))
        weights = logistic_regression(*(rows if words else rows.with_words(len(own))).stacked(), STRENGTH)
        return self._told(logits_of(self.known, weights), logits_of(self.strangers, weights))

    def _told(self, known: np.ndarray, strangers: np.ndarray) -> dict[str, float]:
        right = known.argmax(axis=1) == self.corpus.test.labels
        return {"accuracy": float(right.mean()), "auroc": auroc(known.max(axis=1), strangers.max(axis=1))}

    def _head(self) -> dict[str, dict[str, float]]:
        """The product: as users get it, without and with texts that are none of the intents."""
        fitted = self._fitted(())
        classifier, head = Classifier(fitted.head), fitted.head
        weights, centres = (unpacked(part, len(head.labels)) for part in (head.weights, head.centres))
        logits = [vectors @ weights.T + unpacked(head.bias, 1)[0] for vectors in (self.known, self.strangers)]
        right = logits[0].argmax(axis=1) == self.corpus.test.labels
        ways = {
            "max_probability": [log_softmax(z / head.temperature).max(axis=1) for z in logits],
            "free_energy": [free_energy(z, head.temperature) for z in logits],
            "cosine": [(vectors @ centres.T).max(axis=1) for vectors in (self.known, self.strangers)],
            "likeness": [classifier.likeness(vectors) for vectors in (self.known, self.strangers)],
        }
        sure = [np.exp(log_softmax(logits[0] / warmth).max(axis=1)) for warmth in (1.0, head.temperature)]
        report = fitted.report
        found = {
            "accuracy": float(right.mean()),
            "cross_validated": report.accuracy,
            "auroc": auroc(*ways["likeness"]),
            "ece_before": calibration_error(sure[0], right),
            "ece": calibration_error(sure[1], right),
            "ece_cross_validated": report.ece,
            "fit_s": report.fit_s,
        }
        told = Classifier(self._fitted(tuple(self.corpus.others)).head)
        return {
            "head": found | self._kept(classifier),
            "head_told_of_strangers": self._kept(told),
            "likeness": {name: auroc(*scores) for name, scores in ways.items()},
        }

    def _fitted(self, unknown: tuple[str, ...]) -> Fitted:
        own: dict[str, list[str]] = {label: [] for label in self.corpus.labels}
        for text, label in zip(self.texts, self.labels, strict=True):
            own[self.corpus.labels[label]].append(text)
        intents = {label: Intent(tuple(texts)) for label, texts in own.items()}
        wanted = IntentSet(name="benchmark", intents=intents, unknown=unknown)
        return fit(wanted, self.vectors.of(texts_of(wanted)))

    def _kept(self, classifier: Classifier) -> dict[str, float]:
        unknown = len(classifier.labels) - 1
        known, strangers = (
            classifier.probabilities(vectors).argmax(axis=1) for vectors in (self.known, self.strangers)
        )
        return {
            "known_kept": float((known != unknown).mean()),
            "unknown_found": float((strangers == unknown).mean()),
            "accuracy_with_unknown": float((known == self.corpus.test.labels).mean()),
        }


def spoken(corpus: Corpus) -> list[str]:
    return [label.replace("_", " ") for label in corpus.labels]


def measured(corpus: Corpus, vectors: Vectors, seeds: int, progress: Progress) -> dict[str, Any]:
    """Every method at every number of examples, over the draws."""
    draws = [(shots, seed) for shots in SHOTS for seed in range(seeds if shots < 100 else min(seeds, 2))]
    draws = [(shots, seed) for shots, seed in draws if seed == 0 or not _whole(corpus, shots)]
    bar = progress.add_task(f"fitting {corpus.name}", total=len(draws))
    found: dict[int, list[dict[str, dict[str, float]]]] = {}
    for shots, seed in draws:
        found.setdefault(shots, []).append(Trial(corpus, vectors, shots, seed).figures())
        progress.advance(bar)
    texts = len(corpus.test.texts)
    zero_shot = {name: spread([value], texts) for name, value in Trial(corpus, vectors, 1, 0).zero_shot().items()}
    return {
        "labels": len(corpus.labels),
        "test_texts": texts,
        "strangers": len(corpus.strangers),
        "zero_shot": zero_shot,
        "shots": {str(shots): together(figures, texts) for shots, figures in found.items()},
    }


def _whole(corpus: Corpus, shots: int) -> bool:
    """True when no label has more examples than are drawn: every draw is the same."""
    return bool(np.bincount(corpus.train.labels).max() <= shots)


def together(draws: list[dict[str, dict[str, float]]], texts: int) -> dict[str, Any]:
    return {
        method: {name: spread([draw[method][name] for draw in draws], texts) for name in draws[0][method]}
        for method in draws[0]
    }


def spread(values: list[float], texts: int) -> dict[str, Any]:
    """Mean and 95 % interval: Student's t over the draws; of one draw Wilson's, where the value is a share of texts."""
    mean = statistics.fmean(values)
    if len(values) > 1:
        half = T95[len(values)] * statistics.stdev(values) / len(values) ** 0.5
        return {"mean": mean, "low": mean - half, "high": mean + half, "draws": len(values)}
    low, high = wilson(round(mean * texts), texts) if 0 <= mean <= 1 else (mean, mean)
    return {"mean": mean, "low": low, "high": high, "draws": 1}


def shipped(vectors: Vectors, corpus: Corpus) -> dict[str, Any]:
    """The built-in set, cross-validated over draws of the folds; CLINC150's strangers are its strangers too."""
    wanted = builtin()
    fits = [fit(wanted, vectors.of(texts_of(wanted)), seed) for seed in range(SEEDS)]
    answers = Classifier(fits[0].head).probabilities(vectors.of(corpus.strangers)).argmax(axis=1)
    return {
        "labels": len(wanted.labels),
        "examples": fits[0].report.examples,
        "accuracy": spread([one.report.accuracy for one in fits], fits[0].report.examples),
        "ece": spread([one.report.ece for one in fits], fits[0].report.examples),
        "unknown_found": float((answers == len(wanted.labels)).mean()),
        "fit_s": statistics.median(one.report.fit_s for one in fits),
    }


# --- reporting ----------------------------------------------------------------------------------


def run(folder: Path, seeds: int) -> dict[str, Any]:
    """Measure everything; the report."""
    began = time.monotonic()
    with Progress(console=Console(stderr=True)) as progress:
        found, vectors = corpora(folder), Vectors()
        for corpus in found:
            vectors.learn(
                corpus.train.texts + corpus.test.texts + corpus.strangers + corpus.others, progress, corpus.name
            )
        sets = {corpus.name: measured(corpus, vectors, seeds, progress) for corpus in found}
        own = shipped(vectors, found[0])
    return {
        "question": (__doc__ or "").splitlines()[0],
        "command": " ".join(["python", *("DIR" if word == str(folder) else word for word in sys.argv)]),
        "machine": describe_machine(PACKAGES),
        "seconds": time.monotonic() - began,
        "sets": sets,
        "builtin": own,
    }


def table(report: dict[str, Any]) -> str:
    """The report as Markdown: what benchmarks/README.md holds."""
    return "\n\n".join([*(_accuracy(name, one) for name, one in report["sets"].items()), _unknown(report)])


def _accuracy(name: str, one: dict[str, Any]) -> str:
    title = (
        f"**{name}**, {one['labels']} intents, {one['test_texts']} test texts; label names alone: accuracy "
        f"{_cell(one['zero_shot']['accuracy'])}, AUROC of strangers {one['zero_shot']['auroc']['mean']:.3f}:"
    )
    lines = [title, "", ACCURACY_COLUMNS, rule(ACCURACY_COLUMNS)]
    for shots, found in one["shots"].items():
        head = found["head"]
        cells = [_cell(found[method]["accuracy"]) for method in ("centroid", "logistic", "head")]
        columns = ("cross_validated", "auroc", "ece_before", "ece")
        rest = {column: f"{head[column]['mean']:.3f}" if column in head else "" for column in columns}
        fit_s = f"{head['fit_s']['mean']:.1f}" if "fit_s" in head else ""
        row = [
            shots, *cells, rest["cross_validated"], f"{found['centroid']['auroc']['mean']:.3f}", rest["auroc"],
            rest["ece_before"], rest["ece"], fit_s,
        ]  # fmt: skip
        lines.append(f"| {' | '.join(row)} |")
    return "\n".join(lines)


def _unknown(report: dict[str, Any]) -> str:
    title = (
        "Strangers, at the thresholds chosen from the examples alone, and with 100 other strangers given as `unknown`; "
        "AUROC of what could be compared with the threshold:"
    )
    lines = [title, "", UNKNOWN_COLUMNS, rule(UNKNOWN_COLUMNS)]
    for name, one in report["sets"].items():
        for shots, found in one["shots"].items():
            if "likeness" not in found:
                continue
            pairs = [
                f"{found[kind]['known_kept']['mean']:.3f} / {found[kind]['unknown_found']['mean']:.3f}"
                for kind in ("head", "head_told_of_strangers")
            ]
            ways = [f"{figure['mean']:.3f}" for figure in found["likeness"].values()]
            lines.append(f"| {name}, {shots} | {' | '.join([*pairs, *ways])} |")
    own = report["builtin"]
    last = (
        f"The built-in set ({own['labels']} intents, {own['examples']} examples): accuracy {_cell(own['accuracy'])} "
        f"cross-validated, ECE {own['ece']['mean']:.3f}, {own['unknown_found']:.0%} of CLINC150's strangers found, "
        f"fitted in {own['fit_s']:.1f} s."
    )
    return "\n".join([*lines, "", last])


def _cell(figure: dict[str, Any]) -> str:
    return f"{figure['mean']:.3f} ({figure['low']:.3f}..{figure['high']:.3f})"


# --- the command --------------------------------------------------------------------------------


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", type=Path, default=os.environ.get(VARIABLE), help=f"the data's folder (or ${VARIABLE})"
    )
    parser.add_argument("--seeds", type=int, default=SEEDS, choices=range(2, 9), help="draws of examples; two of 100")
    parser.add_argument("--json", nargs="?", const="-", metavar="FILE", help="write the report; - is standard output")
    parser.add_argument("--save", action="store_true", help=f"write the report to {RESULT.relative_to(ROOT)}")
    given = parser.parse_args()
    if given.data is None:
        parser.error(f"--data DIR is needed, or ${VARIABLE}")
    return given


def main() -> int:
    given = parsed()
    report = run(Path(given.data), given.seeds)
    deliver(report, table(report), to=given.json, keep=RESULT if given.save else None)
    return 0


if __name__ == "__main__":
    sys.exit(main())
