"""The regression itself: weighted rows of vectors with labels in, a matrix and a bias out. Judges nothing."""

from __future__ import annotations

from typing import Any, NamedTuple

TOLERANCE = 1e-4  # of the gradient; a tenth of it took twice as long and changed no accuracy by more than 0.002
STEPS = 1000


class Weights(NamedTuple):
    """`logits = vectors @ matrix.T + bias`; one row of the matrix a label. float32."""

    matrix: Any
    bias: Any


class Rows(NamedTuple):
    """What is fitted: examples, which are judged too, and words about the labels, which are not.

    Attributes:
        vectors, labels: One row an example, and the number of its label.
        words, said: One row a text about a label, and the number of that label: first all labels, then descriptions.
        worth: How many examples each of the words counts for.
    """

    vectors: Any
    labels: Any
    words: Any
    said: Any
    worth: Any

    def only(self, examples: Any) -> Rows:
        """These examples, and all words."""
        return self._replace(vectors=self.vectors[examples], labels=self.labels[examples])

    def with_words(self, first: int) -> Rows:
        """The examples, and the words from this one on."""
        return self._replace(words=self.words[first:], said=self.said[first:], worth=self.worth[first:])

    def stacked(self) -> tuple[Any, Any, Any]:
        """Vectors, labels and worth of all rows together."""
        import numpy as np

        ones = np.ones(len(self.labels))
        return (
            np.concatenate([self.vectors, self.words]),
            np.concatenate([self.labels, self.said]),
            np.concatenate([ones, self.worth]),
        )


def logistic_regression(vectors: Any, labels: Any, worth: Any, strength: float) -> Weights:
    """Multinomial, L2-regularised (`C` is `strength`), by L-BFGS; all labels weigh the same in sum."""
    import numpy as np
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    count = int(labels.max()) + 1
    weight = worth * (worth.sum() / count / np.bincount(labels, weights=worth))[labels]
    twice = np.tile(np.arange(len(labels)), 2)  # every row two times, at half its weight: scikit-learn
    model = LogisticRegression(C=strength, tol=TOLERANCE, max_iter=STEPS)  # warns where labels have one row each
    with threadpool_limits(1, user_api="blas"):  # inference goes on beside it, on the other cores
        if 2 * count > len(labels):
            model.fit(vectors[twice], labels[twice], sample_weight=weight[twice] / 2)
        else:
            model.fit(vectors, labels, sample_weight=weight)
    matrix, bias = model.coef_.astype(np.float32), model.intercept_.astype(np.float32)
    if count == 2:  # one row, for the second label against the first
        return Weights(np.concatenate([-matrix, matrix]) / 2, np.concatenate([-bias, bias]) / 2)
    return Weights(matrix, bias)


def logits_of(vectors: Any, weights: Weights) -> Any:
    """One row a vector, one column a label."""
    return vectors @ weights.matrix.T + weights.bias
