import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hlm_models.design.formula import FUNCTIONS, RandomTerm, joined, merged, names_in, parse
from hlm_models.errors import InputErrors


def random_terms(term):
    return parse(f"y ~ x + {term}").random


@pytest.mark.parametrize(
    ("term", "expected"),
    [
        ("(1 | g)", [RandomTerm("1", ("g",), True)]),
        ("(1|g)", [RandomTerm("1", ("g",), True)]),
        ("(x | g)", [RandomTerm("x", ("g",), True)]),
        ("(1 + x + w | g)", [RandomTerm("1 + x + w", ("g",), True)]),
        ("(x || g)", [RandomTerm("x", ("g",), False)]),
        ("(0 + x | g)", [RandomTerm("0 + x", ("g",), True)]),
        ("(x - 1 | g)", [RandomTerm("x - 1", ("g",), True)]),
        ("(x:w | g)", [RandomTerm("x:w", ("g",), True)]),
        ("(log(x) | g)", [RandomTerm("log(x)", ("g",), True)]),
        ("(1 | g:h)", [RandomTerm("1", ("g", "h"), True)]),
        ("(1 | g/h)", [RandomTerm("1", ("g",), True), RandomTerm("1", ("g", "h"), True)]),
        (
            "(x || g / h / k)",
            [
                RandomTerm("x", ("g",), False),
                RandomTerm("x", ("g", "h"), False),
                RandomTerm("x", ("g", "h", "k"), False),
            ],
        ),
        ("(1 | `home room`)", [RandomTerm("1", ("home room",), True)]),
        (
            "(1 | g) + (0 + x | g)",
            [RandomTerm("1", ("g",), True), RandomTerm("0 + x", ("g",), True)],
        ),
        ("(1 | g) + (1 | h)", [RandomTerm("1", ("g",), True), RandomTerm("1", ("h",), True)]),
    ],
)
def test_random_terms_are_read(term, expected):
    assert random_terms(term) == tuple(expected)


@pytest.mark.parametrize(
    ("text", "common"),
    [
        ("y ~ 1 + (1 | g)", "1"),
        ("y ~ (1 | g)", "1"),
        ("y ~ x*w + (1 | g)", "x*w"),
        ("y ~ (1 | g) + x", "x"),
        ("y ~ 0 + x + (1 | g)", "0 + x"),
        ("y ~ x - 1 + (1 | g)", "x - 1"),
        ("y ~ x + (w + v):x + (1 | g)", "x + (w + v):x"),
        ("y ~ (1 | g) + poly(x, 2) + bs(w, df=4)", "poly(x, 2) + bs(w, df=4)"),
        ("y ~ I(x / 2 + 1) + (1 | g)", "I(x / 2 + 1)"),
        ("y ~ I(x**2) + (1 | g)", "I(x**2)"),
        ("y ~ log(sqrt(exp(x))) + (1 | g)", "log(sqrt(exp(x)))"),
    ],
)
def test_the_common_part_is_what_is_left(text, common):
    assert parse(text).common == common


@pytest.mark.parametrize("response", ["y", "log(y)", "I(y / 100)", "sqrt(y)"])
def test_the_response_is_a_column_or_a_transform(response):
    assert parse(f"{response} ~ x + (1 | g)").response == response


REFUSED = [
    # No formula at all.
    ("x + (1 | g)", "one ~"),
    ("y ~ x ~ (1 | g)", "one ~"),
    ("~ x + (1 | g)", "one ~"),
    ("y ~ ", "one ~"),
    ("y + w ~ x + (1 | g)", "response must be one column"),
    ("y * 2 ~ x + (1 | g)", "response"),
    # Parentheses and signs.
    ("y ~ (x + (1 | g)", "unbalanced parenthesis.*not closed"),
    ("y ~ x) + (1 | g)", "unbalanced parenthesis.*closes nothing"),
    ("y ~ x + + (1 | g)", "followed by nothing"),
    ("y ~ x + (1 | g) +", "followed by nothing"),
    ("y ~ x (w) + (1 | g)", "side by side|not a function"),
    ("y ~ (x)(w) + (1 | g)", "side by side"),
    # Random terms.
    ("y ~ x + 1 | g", "alone in parentheses"),
    ("y ~ x * (1 | g)", "alone in parentheses"),
    ("y ~ x - (1 | g)", "cannot be subtracted"),
    ("y ~ (1 | g | h)", "one bar"),
    ("y ~ (1 ||| g)", "one bar"),
    ("y ~ ( | g)", "no effects before the bar"),
    ("y ~ (1 | )", "must be a column"),
    ("y ~ (1 | g + h)", "must be a column"),
    ("y ~ (1 | log(g))", "must be a column"),
    ("y ~ (1 | g/h:k)", "mixes / and :"),
    ("y ~ (1 | g/g)", "nests 'g' in itself"),
    ("y ~ (1 | g:h:g)", "nests 'g' in itself"),
    # What is evaluated elsewhere is not evaluated here.
    ("y ~ open(x) + (1 | g)", "'open' is not a function"),
    ("y ~ lag(x) + (1 | g)", r"'lag' is not a function.*did you mean 'log'.*allowed: C, I"),
    ("y ~ log(open(x)) + (1 | g)", "'open' is not a function"),
    ("y ~ (open(x) | g)", "'open' is not a function"),
    ("open(y) ~ x + (1 | g)", "'open' is not a function"),
    ("y ~ np.log(x) + (1 | g)", "attribute access 'np.log'"),
    ("y ~ log(x.values) + (1 | g)", r"attribute access 'x\.values'"),
    ("y ~ x.y + (1 | g)", r"attribute access 'x\.y'.*backticks"),
    ("y ~ I((lambda: 1)()) + (1 | g)", "not allowed"),
    ("y ~ I(lambda: x) + (1 | g)", "not allowed"),
    ("y ~ I(x[0]) + (1 | g)", "not allowed"),
    ("y ~ I([i for i in x]) + (1 | g)", "not allowed"),
    ("y ~ I(x if x else x) + (1 | g)", "not allowed"),
    ("y ~ I((z := x)) + (1 | g)", "not allowed"),
    ("y ~ I(x, *x) + (1 | g)", "not allowed"),
    ("y ~ I(x > 1) + (1 | g)", "not allowed"),
    ("y ~ C(x, 'treatment') + (1 | g)", "only numbers"),
    ('y ~ I("x") + (1 | g)', "only numbers"),
    ("y ~ I(f'{x}') + (1 | g)", "not allowed|only numbers"),
    ("y ~ I(x +) + (1 | g)", "cannot be read"),
    # Operators of other grammars.
    ("y ~ x / w + (1 | g)", "'/' is not part"),
    ("y ~ x ** 2 + (1 | g)", "not part|stands alone"),
    ("y ~ x ^ w + (1 | g)", r"'\^' is not part"),
    ("y ~ x % w + (1 | g)", "'%' is not part"),
    ("y ~ [x] + (1 | g)", r"'\[' is not part"),
    ("y ~ {x} + (1 | g)", r"'\{' is not part"),
    ("y ~ 'x' + (1 | g)", "''' is not part"),
    ("y ~ x; w + (1 | g)", "';' is not part"),
    ("y ~ 2 + x + (1 | g)", "other than 0 and 1"),
    ("y ~ 2.5*x + (1 | g)", "other than 0 and 1"),
]


@pytest.mark.parametrize(("text", "words"), REFUSED, ids=[text for text, _ in REFUSED])
def test_what_is_not_in_the_grammar_is_refused_with_its_reason(text, words):
    with pytest.raises(InputErrors, match=words) as caught:
        parse(text)
    assert [problem.key for problem in caught.value.problems] == ["formula"]


def test_without_a_random_term_the_formula_says_that_it_has_none():
    pooled = parse("y ~ x + offset(w)")
    assert (pooled.common, pooled.random, pooled.groups, pooled.offset) == ("x", (), (), "w")
    [note] = pooled.notes
    assert "no random term" in note
    assert "(1 | group)" in note
    assert parse("y ~ x + (1 | g)").notes == ()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_allowed_function_may_be_called(name):
    call = {"poly": "poly(x, 2)", "bs": "bs(x, df=4)"}.get(name, f"{name}(x)")
    assert parse(f"y ~ {call} + (1 | g)").common == call


@given(st.text("yxg01.5 ~+-*:/|()`'\"[]{}_,=<>\\lambda\n", max_size=40))
def test_any_text_is_parsed_or_refused(text):
    with contextlib.suppress(InputErrors):
        found = parse(text)
        assert found.random
        assert found.response


@pytest.mark.parametrize(
    ("expression", "names"),
    [
        ("x + w*x", ("x", "w")),
        ("log(x) + bs(w, df=4)", ("x", "w")),
        ("`home room` + x", ("home room", "x")),
        ("1 + 0", ()),
        ("I(x**2 + w)", ("x", "w")),
        ("poly(age, 2):sex", ("age", "sex")),
    ],
)
def test_columns_of_an_expression_are_found(expression, names):
    assert names_in(expression) == names


def test_predictors_and_groups_are_listed_once_in_order():
    found = parse("log(y) ~ x*w + (x + v | g) + (1 | h/k) + (0 + w | g)")
    assert found.predictors == ("x", "w", "v")
    assert found.groups == ("g", "h", "h:k")
    assert list(merged(found.random)) == ["g", "h", "h:k"]
    assert len(merged(found.random)["g"]) == 2


@pytest.mark.parametrize(
    "term",
    ["1 | g", "1 + x | g", "0 + x | g", "x || g", "1 | a:b"],
)
def test_the_text_of_a_term_is_the_term(term):
    [found] = random_terms(f"({term})")
    assert found.text == term
    assert random_terms(f"({found.text})") == (found,)


@pytest.mark.parametrize(
    ("effects", "text"),
    [
        (["Intercept"], "(1 | g)"),
        (["Intercept", "x"], "(x | g)"),
        (["x"], "(0 + x | g)"),
        (["Intercept", "x", "w"], "(x + w | g)"),
    ],
)
def test_a_repair_is_written_as_a_term_that_parses(effects, text):
    assert joined(effects, "g", correlated=True) == text
    assert joined(effects, "g", correlated=False) == text.replace("|", "||")
    assert len(random_terms(text)) == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("y ~ Intercept + (1 | g)", "may not be named Intercept"),
        ("poly(y, 2) ~ x + (1 | g)", "response must be one column"),
        ("C(y) ~ x + (1 | g)", "response must be one column"),
        ("y - x ~ w + (1 | g)", "response must be one column"),
        ("I(1) ~ x + (1 | g)", "reads no column"),
        ("y ~ y + (1 | g)", "stands among the predictors"),
        ("y ~ x + (y | g)", "stands among the predictors"),
    ],
)
def test_a_response_or_a_constant_that_is_none_is_refused(text, words):
    with pytest.raises(InputErrors, match=words):
        parse(text)


def test_a_number_in_scientific_notation_is_no_column():
    assert parse("y ~ I(x / 1e5) + (1 | g)").predictors == ("x",)


def test_a_group_in_backticks_is_one_column():
    [term] = parse("y ~ x + (1 | `a/b`)").random
    assert term.factors == ("a/b",)
