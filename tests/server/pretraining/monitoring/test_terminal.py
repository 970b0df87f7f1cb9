"""The live view: what stands on the screen, and what lines there are where there is none."""

import errno
import io

from rich.console import Console
from server.pretraining.monitoring.reported import MACHINE, evaluation, spike, step, tell

from fedward_server.pretraining.monitoring.terminal import TerminalView


class Clock:
    """Goes on by a second with each look."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


def screen(view: TerminalView) -> list[str]:
    """What the picture looks like, line by line."""
    console = Console(file=io.StringIO(), force_terminal=True, width=100, record=True)
    console.print(view)
    return [line.rstrip() for line in console.export_text().splitlines()]


def test_the_picture_has_all_that_is_asked_of_it() -> None:
    view = TerminalView(Console(file=io.StringIO(), force_terminal=True), MACHINE)
    assert screen(view) == ["waiting for the first step"]
    tell(view, range(40))
    spike(view, 40, 40)
    tell(view, range(40, 60))
    view.notice("a [bold]notice[/bold]")
    first, bar, curve, figures, title, english, chinese, *said = screen(view)
    # 40 steps of 0.5 s are left, and 6 evaluations and checkpoints of 1.75 s were in 62 steps.
    assert first == "step 60 of 100 · 27 s left · checkpoint after 60"
    assert bar.startswith("━" * 40)
    assert len(curve) == len("loss ") + 60
    assert curve.endswith("▁▁▁")
    assert figures == (
        "loss 2.4187 · perplexity 11.23 · gradient 1.17 · rate 0.0001 · 2,048 tokens/s · "
        "MFU 12.3 % · 123 MB"
    )
    assert title.split() == ["held", "out", "after", "60", "loss", "perplexity", "right"]
    assert english.split() == ["english", "2.4983", "12.16", "50.0", "%"]
    assert chinese.split() == ["中文", "2.7983", "16.42", "25.0", "%"]
    assert said == ["doctor: step 41: a spike <&>; back", "a [bold]notice[/bold]"]


def test_only_the_newest_words_stay() -> None:
    view = TerminalView(Console(file=io.StringIO(), force_terminal=True), MACHINE)
    view.step(step(0))
    for number in range(9):
        view.notice(f"notice {number}")
    assert screen(view)[-4:] == [f"notice {number}" for number in range(5, 9)]


def test_a_terminal_shows_it_and_keeps_the_last_of_it() -> None:
    file = io.StringIO()
    with TerminalView(Console(file=file, force_terminal=True, width=100), MACHINE) as view:
        view.step(step(99))
    assert "step 100 of 100" in file.getvalue()


class Hung(io.StringIO):
    """A terminal that may be gone."""

    gone = False

    def write(self, text: str) -> int:
        if self.gone:
            raise OSError(errno.EIO, "Input/output error")
        return super().write(text)


def test_a_terminal_that_is_gone_at_the_end_fails_nothing() -> None:
    file = Hung()
    with TerminalView(Console(file=file, force_terminal=True, width=100), MACHINE) as view:
        view.step(step(0))
        file.gone = True
    assert "step 1 of 100" not in file.getvalue()


def test_a_pipe_has_lines_in_their_order() -> None:
    file = io.StringIO()
    with TerminalView(Console(file=file, width=80), MACHINE, Clock()) as view:
        for number in range(12):
            view.step(step(number))
        view.evaluation(evaluation(12))
        view.checkpoint(12, 0.25)
        spike(view, 98, 90)
        view.step(step(99))
        view.notice("x " * 100)
    lines = file.getvalue().splitlines()
    assert [line.partition(":")[0] for line in lines[:2]] == ["step 1 of 100", "step 11 of 100"]
    assert lines[0].endswith("2,048 tokens/s, MFU 12.3 %, 123 MB, 50 s left")
    assert lines[2] == (
        "held out after 12 steps: english 6.4905 (50.0 % right), 中文 6.7905 (25.0 % right)"
    )
    assert lines[3] == "checkpoint after 12 steps, 0.2 s"
    assert "doctor: step 99: a spike <&>; back" in lines
    assert lines[-2].startswith("step 100 of 100: loss 2.0567,")
    assert lines[-1].strip() == ("x " * 100).strip()
