"""What a run leaves to routing: speed as if requests had shown it, quality where a right answer was known."""

from router.compare import saving
from router.compare.run import Closed
from router.compare.suite import InputEntry
from tests.unit.router.compare.suites import on_a_loop, ran, suite
from tests.unit.router.house import CHAT, chat, chat_model, fake, opened

INPUTS = tuple(InputEntry(input=text, expected="nothing that a fake says") for text in ("one", "two"))


def house(**script):
    return opened(chat_model(fake("a"), fake("b", **script)))


@on_a_loop
async def test_estimates_begin_with_what_was_measured() -> None:
    """Before, a fake is believed to be quick; afterwards the one that was slow is known to be, and that is kept."""
    async with house(latency_ms=200) as opened_house:
        services = opened_house.services
        run = await ran(opened_house, suite(repeats=5))
        before = await services.dispatcher.plan(chat())
        told = saving.learn(services.lessons.estimator, services.finder, run)
        after = await services.dispatcher.plan(chat())

        assert ["a: speed taken from 10 answers", "b: speed taken from 10 answers"] == told
        assert before.estimate(f"b:{CHAT}").latency_s < 0.05 < after.estimate(f"b:{CHAT}").latency_s
        assert after.estimate(f"a:{CHAT}").latency_s < after.estimate(f"b:{CHAT}").latency_s
        assert {f"a:{CHAT}", f"b:{CHAT}"} == {name for name, _ in services.lessons.estimator.unsaved()}


@on_a_loop
async def test_speed_is_that_of_the_lightest_load() -> None:
    """What many at once have to wait says nothing of one."""
    async with house() as opened_house:
        run = await ran(opened_house, suite(repeats=2, concurrency=(4, 1)))
        told = saving.learn(opened_house.services.lessons.estimator, opened_house.services.finder, run)

    assert (Closed(concurrency=4), Closed(concurrency=1)) == run.loads
    assert ["a: speed taken from 4 answers", "b: speed taken from 4 answers"] == told


@on_a_loop
async def test_whom_the_catalogue_does_not_list_teaches_nobody() -> None:
    """A runtime that was asked for by name is another candidate than the one that requests are given to."""
    async with house() as opened_house:
        run = await ran(opened_house, suite())
    async with opened(chat_model(fake("a"))) as another:
        told = saving.learn(another.services.lessons.estimator, another.services.finder, run)

        assert told[1].startswith(f"b: speed not taken: the catalogue lists no candidate b:{CHAT}")
        assert [f"a:{CHAT}"] == [name for name, _ in another.services.lessons.estimator.unsaved()]


@on_a_loop
async def test_quality_is_taken_where_a_right_answer_was_known() -> None:
    """The candidates of a model together; agreement with another model is no quality."""
    async with house() as opened_house:
        known = await ran(opened_house, suite(inputs=INPUTS, metric="exact_match"))
        agreeing = await ran(opened_house, suite(metric="exact_match", reference="a"))

    assert [saving.Judged(CHAT, 0.0, 2)] == saving.judged(known)
    assert [] == saving.judged(agreeing)
