"""The audit: references against closed forms, claims that catch wrong samplers, the command line."""

from __future__ import annotations

import csv
import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from rlsample import lab, samplers, schedules
from rlsample.samplers.leave_one_out import LeaveOneOut
from rlsample.samplers.zgr import ZGR
from scripts.audit import adaptation, claims, coin, four_way, polynomial, problem, published, references
from scripts.audit.__main__ import main
from scripts.audit.comparison import Comparison
from tests.helpers import ALL_SAMPLERS

DOCS = Path(__file__).parents[1] / "docs"
EXACT_ONES = ["categorical", "disarm", "exact", "indecater", "leave_one_out", "score_function", "unordered_set"]


# ---- the references: a second implementation has to be right itself


@pytest.mark.parametrize("objective", problem.OBJECTIVES)
def test_slopes_are_derivatives(objective):
    points = np.array([-2.0, -0.3, 0.5, 1.0, 1.5])
    with tf.GradientTape() as tape:
        scores = tf.constant(points)
        tape.watch(scores)
        values = problem.OBJECTIVES[objective].value(scores)
    np.testing.assert_allclose(problem.OBJECTIVES[objective].slope(points), tape.gradient(values, scores), rtol=1e-12)


@pytest.mark.parametrize("objective", problem.OBJECTIVES)
def test_exact_gradient_of_the_problem_is_the_laboratorys(objective):
    function = problem.OBJECTIVES[objective].value
    gradient = lab.exact_gradient(
        lambda d: function(tf.linalg.matvec(d, tf.constant(problem.SCORES))), problem.LOGITS[None], problem.MASK
    )
    np.testing.assert_allclose(gradient[0, :4], problem.exact_gradient(objective), rtol=1e-12)


@pytest.mark.parametrize("name", EXACT_ONES)
def test_references_of_unbiased_estimators_have_the_exact_mean(name):
    for objective in problem.OBJECTIVES:
        mean = references.REFERENCES[name](1.0, objective).mean
        np.testing.assert_allclose(mean, problem.exact_gradient(objective), rtol=1e-12)


def test_references_are_the_literatures():
    for table in (four_way.MEANS, four_way.SIMULATED_MEANS):
        for config, temperature, objective, mean in table:
            if str(config) in references.REFERENCES:
                reference = references.REFERENCES[config](temperature, objective)
                error = 5.5 * reference.mean_error + (6e-7 if table is four_way.MEANS else 6e-3)
                assert (np.abs(reference.mean - mean) < error).all()
    for config, temperature, objective, variance, half in four_way.VARIANCES:
        if str(config) in references.REFERENCES:
            assert abs(references.REFERENCES[config](temperature, objective).variance - variance) < half + 1e-9


def test_every_sampler_claims_something():
    for sampler in ALL_SAMPLERS:
        assert sampler.unbiased != "never" or claims.claimed(sampler) == sampler.name


# ---- the command


def run(tmp_path, *words, draws=4000):
    code = main([*words, "--draws", str(draws), "--output", str(tmp_path / "audit")])
    path = tmp_path / "audit" / "audit.csv"
    return code, list(csv.DictReader(path.read_text().splitlines())) if path.exists() else None


def test_right_samplers_pass_and_everything_is_written(tmp_path, capsys):
    chosen = ["reinmax", "zgr", "leave_one_out", "gumbel_softmax", "{name: score_function, baseline: 1}"]
    code, rows = run(tmp_path, "--samplers", *chosen, "--temperatures", "1", "2", "--objectives", "linear", "cubic")
    assert code == 0
    # Two objectives; two temperatures for the two that have one (and the score function by its own name has none).
    assert len(rows) == 2 * (2 * 2 + 3)
    by_cell = {(row["sampler"], row["temperature"], row["objective"]): row for row in rows}
    assert abs(float(by_cell["reinmax", "2.0", "linear"]["relative_bias"]) - 0.62) < 0.1
    assert float(by_cell["zgr", "1.0", "linear"]["relative_bias"]) < 0.1
    assert float(by_cell["zgr", "1.0", "cubic"]["relative_bias"]) > 0.5
    printed = capsys.readouterr().out
    assert "score_function baseline=1" in printed
    assert "BROKEN" not in printed
    table = (tmp_path / "audit" / "audit.md").read_text().strip().splitlines()
    assert table[0].startswith("# ")
    assert table[2].startswith("| sampler")
    assert len(table) == 4 + 7
    assert (tmp_path / "audit" / "bias_variance.png").stat().st_size > 20_000


def test_to_be_unbiased_is_a_claim_of_its_own(tmp_path):
    """The table said "none" of samplers that are held to be unbiased and have no second implementation."""
    assert run(tmp_path, "--samplers", "arsm", "--objectives", "linear", draws=400)[0] == 0
    assert "hold" in (tmp_path / "audit" / "audit.md").read_text().splitlines()[4]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shrunk(LeaveOneOut):
    """The mean that includes the draw itself as baseline, without the factor that makes up for it."""

    name = "shrunk"

    def expectation(self, objective, logits, seed, **options):
        value = super().expectation(objective, logits, seed, **options)
        return 0.5 * value + 0.5 * tf.stop_gradient(value)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Leaking(ZGR):
    """Lets a gradient through to what is not legal."""

    name = "leaking"

    def expectation(self, objective, logits, seed, **options):
        return super().expectation(objective, logits, seed, **options) + 1e-9 * tf.reduce_sum(logits, -1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Undefined(ZGR):
    """NaN for a gradient."""

    name = "undefined"

    def expectation(self, objective, logits, seed, **options):
        return super().expectation(objective, logits, seed, **options) * float("nan")


@pytest.mark.parametrize(
    ("wrong", "claim"),
    [(Shrunk, "unbiased"), (Leaking, "gradient 0 where illegal"), (Undefined, "unbiased")],
)
def test_a_wrong_sampler_is_found(wrong, claim, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(samplers.SAMPLERS, wrong.name, wrong)
    code, _ = run(tmp_path, "--samplers", wrong.name, "--temperatures", "1", "--objectives", "linear", "quadratic")
    assert code == 1
    assert f"BROKEN: {wrong.name}, temperature 1, quadratic: {claim}" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("claim", ["mean of its formula", "variance of its formula"])
def test_a_sampler_that_does_not_follow_its_formula_is_found(claim, tmp_path, monkeypatch, capsys):
    formula = references.gapped_straight_through(1.0, "cubic")
    other = formula._replace(variance=0.5) if "variance" in claim else formula._replace(mean=formula.mean * 0.9)
    monkeypatch.setitem(references.REFERENCES, "gapped_straight_through", lambda *_: other)
    words = ["--samplers", "gapped_straight_through", "--temperatures", "1", "--objectives", "cubic"]
    assert run(tmp_path, *words)[0] == 1
    assert f"cubic: {claim}" in " ".join(capsys.readouterr().out.split())
    # With another gap the formula says nothing.
    words[1] = "{name: gapped_straight_through, gap: 2}"
    assert run(tmp_path, *words)[0] == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--samplers", "reinmix"], "Did you mean 'reinmax'"),
        (["--samplers", "zgr", "--temperatures", "0"], "finite number > 0"),
        (["--samplers", "{name: gumbel_rao, num_samples: 0}"], "num_samples"),
    ],
)
def test_bad_words(words, message, tmp_path, capsys):
    assert run(tmp_path, *words) == (2, None)
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--samplers", "{zgr"], ["--objectives", "quartic"], ["--draws", "many"]])
def test_words_that_cannot_be_read(words, capsys):
    with pytest.raises(SystemExit) as exit_code:
        main(words)
    assert exit_code.value.code == 2


# ---- published numbers


def test_standard_errors_of_disagreement():
    row = Comparison("x", [1.0, 2.0, 3.0], [0.1, 0.0, 0.3], [1.5, 2.0, 3.05], [0.0, 0.0, 0.4], slack=0.1)
    np.testing.assert_allclose(row.z(), [4, 0, 0])
    assert Comparison("x", 1.0, 0.0, 2.0).z() == [np.inf]
    assert np.isnan(Comparison("x", np.nan, 1.0, 2.0).z()).all()
    np.testing.assert_allclose(claims.bound(1), 4.8916, atol=1e-4)


def test_the_suite_fails_where_numbers_do_not_agree(monkeypatch, capsys):
    agreeing = Comparison("fine", 1.0, 0.1, 1.2)
    for value, code in ((1.2, 0), (float("nan"), 1), (9.0, 1)):
        monkeypatch.setattr(published.four_way, "compare", lambda *_, value=value: [Comparison("x", value, 0.1, 1.0)])
        monkeypatch.setattr(published.coin, "compare", lambda *_: [agreeing])
        monkeypatch.setattr(published, "polynomial_rows", lambda *_: [agreeing])
        assert main(["--suite", "published"]) == code
        assert ("FAILS" in capsys.readouterr().out) == bool(code)


def test_closed_forms_of_the_coin_are_the_published_variances():
    for name, (variances, halves) in coin.VARIANCES.items():
        derived = coin.derived_variance(name)
        assert (derived is None) == (name == "rebar")
        if derived is not None:
            assert (np.abs(derived - variances) < 1.01 * np.array(halves) + 1e-12).all()
    for name, (temperature, means, _) in coin.MEANS.items():
        if temperature != 1:
            derived = coin.quadrature_mean(temperature, relaxed=name == "gumbel_softmax")
            # Theirs are means of a million draws.
            np.testing.assert_allclose(derived, means, atol=1e-3)


def test_plateaus():
    np.testing.assert_allclose(polynomial.straight_through_plateau()[1], 0.2475, rtol=1e-12)
    noisy, relaxed = polynomial.noisy_plateau(1.0, relaxed=True)
    assert abs(noisy[1] - 0.2402) < 6e-5
    assert abs(relaxed[1] - 0.0818) < 2e-4
    for temperature, loss in ((1.0, 0.2458), (0.5, 0.2431)):
        assert abs(polynomial.noisy_plateau(temperature, relaxed=False)[0, 1] - loss) < 6e-5


def test_training_on_the_exact_gradient_is_adam_written_out():
    course = polynomial.train("exact", epochs=2, seed=3)
    np.testing.assert_allclose(course.discrete.mean(-1), polynomial.exact_course(3, epochs=2), atol=2e-6)
    np.testing.assert_allclose(course.surrogate, course.discrete.mean(-1), atol=2e-6)


@pytest.mark.slow
def test_every_sampler_keeps_its_claims(tmp_path):
    assert main(["--quick", "--output", str(tmp_path)]) == 0


def test_a_policy_trained_for_the_table_of_temperatures_gains():
    train = adaptation.trainer(schedules.create(1.0), "exponential", 60)
    course = train((0, 1))
    assert course == train((0, 1))
    assert 0 < course.regret < 0.8
    assert course.temperature == 1.0
    assert 0 < course.bias < course.noise


@pytest.mark.slow
def test_the_table_of_temperatures_is_printed(capsys):
    assert main(["--suite", "temperature", "--quick"]) == 0
    said = capsys.readouterr().out
    assert all(label in said for label in adaptation.CONTROLS)


@pytest.mark.slow
def test_published_numbers_are_reproduced():
    assert main(["--suite", "published", "--quick"]) == 0


def test_the_page_runs_and_its_table_is_the_audits():
    page = (DOCS / "choosing_a_sampler.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    exec(compile(code, "choosing_a_sampler.md", "exec"), {})
    cells: dict[str, list] = {}
    for row in csv.DictReader((DOCS / "images" / "audit" / "audit.csv").read_text().splitlines()):
        if row["temperature"] == "1.0":
            bias, error = float(row["relative_bias"]), float(row["relative_bias_standard_error"])
            visible = bias > max(3 * error, claims.ROUNDING)
            noise = float(row["relative_variance"]) ** 0.5
            cells.setdefault(row["sampler"], []).append((bias if visible else 0.0, noise))
    written = re.findall(r"^\| `(\w+)`[^|]*((?:\| [\d.]+, [\d.]+ ){5})\|", page, re.MULTILINE)
    assert len(written) > 15
    for name, numbers in written:
        (found,) = [row for sampler, row in cells.items() if sampler.split()[0] == name]
        pairs = [[float(number) for number in pair.split(",")] for pair in numbers.strip("| ").split(" | ")]
        # Estimators that coincide share a row, with numbers of one of them.
        np.testing.assert_allclose(pairs, found, rtol=0.01, atol=0.0051)
