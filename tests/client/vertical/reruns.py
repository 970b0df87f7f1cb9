"""Programs that are run again with what they heard the first time."""


def remembered(program, heard):
    """The program, with what it does and is answered put into `heard`."""
    action = next(program)
    while True:
        answer = yield action
        heard.append((action, answer))
        try:
            action = program.send(answer)
        except StopIteration as end:
            return end.value


def replayed(program, heard):
    """What the program comes to with these answers, if it does the same."""
    action, left = next(program), list(heard)
    while True:
        before, answer = left.pop(0)
        assert action == before
        try:
            action = program.send(answer)
        except StopIteration as end:
            assert not left
            return end.value
