"""One watcher that fails is left out, and nothing else happens."""

import pytest
from server.pretraining.monitoring.reported import evaluation, spike, step

from fedward_server.pretraining.doctor import NewLoader, Treatment
from fedward_server.pretraining.monitoring.watchers import Watchers
from fedward_server.pretraining.reports import EvaluationReport, StepReport


class Noted:
    """Notes what it is told, and raises at what it is asked to."""

    def __init__(self, *fails_at: str) -> None:
        self.told: list[str] = []
        self._fails_at = fails_at

    def step(self, report: StepReport) -> None:
        self._note(f"step {report.step}")

    def evaluation(self, report: EvaluationReport) -> None:
        self._note(f"evaluation {report.step}")

    def treatment(self, step: int, treatment: Treatment) -> None:
        self._note(f"treatment {step}: {treatment.reason}")

    def checkpoint(self, step: int, seconds: float) -> None:
        self._note(f"checkpoint {step}: {seconds}")

    def notice(self, text: str) -> None:
        self._note(f"notice: {text}")

    def _note(self, text: str) -> None:
        if any(part in text for part in self._fails_at):
            raise OSError(f"no room for {text}")
        self.told.append(text)


def tell_all(watchers: Watchers) -> None:
    watchers.step(step(1))
    watchers.evaluation(evaluation(2))
    watchers.treatment(2, NewLoader("stalled"))
    watchers.checkpoint(2, 0.5)
    watchers.notice("done")


ALL = ["step 1", "evaluation 2", "treatment 2: stalled", "checkpoint 2: 0.5", "notice: done"]


def test_each_is_told_all_in_order() -> None:
    some = [Noted(), Noted()]
    tell_all(Watchers(some))
    assert [each.told for each in some] == [ALL, ALL]


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("at", range(5))
def test_one_that_raises_is_dropped_with_one_notice(place: int, at: int) -> None:
    good, bad = Noted(), Noted(ALL[at])
    tell_all(Watchers([bad, good] if place == 0 else [good, bad]))
    dropped = f"notice: Noted is told nothing more: no room for {ALL[at]}"
    assert bad.told == ALL[:at]
    assert good.told == [*ALL[: at + 1], dropped, *ALL[at + 1 :]]


def test_one_that_cannot_take_the_notice_of_the_other_is_dropped_too() -> None:
    good, bad, worse = Noted(), Noted("step"), Noted("told nothing more")
    watchers = Watchers([worse, bad, good])
    spike(watchers, 7, 5)
    assert worse.told == ["step 7"]
    assert good.told == [
        "step 7",
        "notice: Noted is told nothing more: no room for step 7",
        "notice: Noted is told nothing more: no room for "
        "notice: Noted is told nothing more: no room for step 7",
        "step 8",
        "treatment 9: step 8: a spike <&>; back",
    ]


def test_a_training_that_nobody_watches_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    tell_all(Watchers([Noted("evaluation")]))
    assert "nobody watches the training any more" in capsys.readouterr().out


def test_ctrl_c_is_not_kept_from_anybody() -> None:
    class Pressed(Noted):
        def step(self, report: StepReport) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Watchers([Pressed()]).step(step(1))
